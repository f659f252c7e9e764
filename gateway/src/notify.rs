//! Messages to the service manager that started the program (systemd's `sd_notify` protocol).
//!
//! Each is a datagram to the socket that `NOTIFY_SOCKET` names; without the variable nothing is
//! sent. If a message cannot be sent, the log says so and the program goes on.

use std::{
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt,
        unix::{
            ffi::OsStrExt,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

use tidings::core::Chain;

/// A state of the program that the service manager is notified of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Both sides accept.
    Ready,
    /// The settings are being read again; [`Ready`](Self::Ready) follows.
    Reloading,
    /// The end has begun.
    Stopping,
}

/// Notifies the service manager, if there is one.
pub fn notify(state: State) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(&socket, &message(state)) {
        tracing::warn!(error = %Chain(&error), ?state, "the service manager could not be notified");
    }
}

fn message(state: State) -> String {
    match state {
        State::Ready => "READY=1\n".to_owned(),
        State::Stopping => "STOPPING=1\n".to_owned(),
        State::Reloading => {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
            let micros = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
            format!("RELOADING=1\nMONOTONIC_USEC={micros}\n")
        }
    }
}

fn send(socket: &OsStr, message: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    // A manager that does not read must not make the program wait.
    sender.set_nonblocking(true)?;
    sender.send_to_addr(message.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_reaches_a_socket_by_path_and_by_abstract_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let name = format!("tidings-test-{}", std::process::id());
        let abstracted = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstracted).expect("a socket");

        send(path.as_os_str(), &message(State::Ready)).expect("it is told");
        send(OsStr::new(&format!("@{name}")), &message(State::Stopping)).expect("it is told");

        let mut text = [0; 64];
        let read = by_path.recv(&mut text).expect("a message");
        assert_eq!(&text[..read], b"READY=1\n");
        let read = by_name.recv(&mut text).expect("a message");
        assert_eq!(&text[..read], b"STOPPING=1\n");
        assert!(message(State::Reloading).starts_with("RELOADING=1\nMONOTONIC_USEC="));
    }
}
