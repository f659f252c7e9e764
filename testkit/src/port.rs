//! Ports of this machine: finds free ones, and starts servers on them.

use std::{
    io,
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::Command,
};

/// How often a start is tried, since another process may take the port that was found free.
const STARTS: usize = 3;

/// Returns a port that is free now.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port())
}

/// Starts a server that chooses a free port, and tries again if that fails. Returns the error of
/// the last try.
pub(crate) fn started<S>(mut start: impl FnMut() -> io::Result<S>) -> io::Result<S> {
    for _ in 1..STARTS {
        if let Ok(server) = start() {
            return Ok(server);
        }
    }
    start()
}

/// Waits until something listens on a port, for half a minute at most.
pub(crate) fn wait_for_listener(port: u16) -> io::Result<()> {
    let mut pause = Command::new("sleep");
    pause.arg("0.02");
    for _ in 0..1_500 {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(());
        }
        pause.status()?;
    }
    Err(io::ErrorKind::TimedOut.into())
}
