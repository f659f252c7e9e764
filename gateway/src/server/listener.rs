//! [`Listener`]: a bound socket, and [`Seats`]: who accepts next.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::Notify;

/// How many connections may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A listening socket that several threads accept from.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    address: SocketAddr,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("the {side} side cannot listen on {address} (--{side}-listen): {}", reason(.source))]
pub(crate) struct BindError {
    side: &'static str,
    address: SocketAddr,
    source: io::Error,
}

fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another program has this port".to_owned(),
        io::ErrorKind::AddrNotAvailable => "this machine has no such address".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "this port needs more rights than the program has".to_owned()
        }
        _ => error.to_string(),
    }
}

impl Listener {
    /// Binds `side`'s address. Port 0 picks a free port.
    ///
    /// No `SO_REUSEPORT`: a port in use is an error, and stays ours until the socket is closed.
    pub(crate) fn bind(side: &'static str, address: SocketAddr) -> Result<Self, BindError> {
        let bind = || {
            let socket = Socket::new(
                Domain::for_address(address),
                Type::STREAM,
                Some(Protocol::TCP),
            )?;

            // A port whose last connections are in TIME_WAIT is free; one that is listened on is
            // not.
            socket.set_reuse_address(true)?;
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            socket.listen(BACKLOG)?;

            let socket = TcpListener::from(socket);
            let address = socket.local_addr()?;
            Ok(Self { socket, address })
        };
        bind().map_err(|source| BindError {
            side,
            address,
            source,
        })
    }

    /// Returns the address with its real port.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes another descriptor of the same socket, for another thread's event loop.
    pub(crate) fn share(&self) -> io::Result<Self> {
        Ok(Self {
            socket: self.socket.try_clone()?,
            address: self.address,
        })
    }

    /// Returns the socket itself.
    pub(crate) fn into_socket(self) -> TcpListener {
        self.socket
    }
}

/// How many connections each worker has, so that the emptiest accepts next.
#[derive(Debug)]
pub(crate) struct Seats {
    workers: Box<[Worker]>,
    /// How many connections are open or about to be accepted, and how many may be.
    open: AtomicUsize,
    most: usize,
    /// Notified when a connection ends while all seats are taken.
    freed: Notify,
    /// Notified when a connection is taken while a worker waits for another to take it.
    taken: Notify,
    waiting: AtomicUsize,
}

/// Padded, so that workers do not write to one another's cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Worker {
    open: AtomicUsize,
    accepted: AtomicUsize,
}

/// Room for one connection; given back when dropped.
#[derive(Debug)]
pub(crate) struct Room(Arc<Seats>);

/// One connection's place among its worker's; given back when dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Room,
    worker: usize,
}

impl Seats {
    /// Makes seats for at most `most` connections, which these workers share.
    pub(crate) fn new(workers: usize, most: usize) -> Arc<Self> {
        Arc::new(Self {
            workers: (0..workers).map(|_| Worker::default()).collect(),
            open: AtomicUsize::new(0),
            most,
            freed: Notify::new(),
            taken: Notify::new(),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Returns whether no other worker should go first.
    pub(crate) fn is_next(&self, worker: usize) -> bool {
        let standing = |worker: &Worker| (worker.open.load(Relaxed), worker.accepted.load(Relaxed));
        let own = self.workers.get(worker).map(standing).unwrap_or_default();
        self.workers.iter().all(|other| own <= standing(other))
    }

    /// Returns how many connections are open.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// Reserves room for a connection; `None` if as many are open as may be.
    pub(crate) fn room(self: &Arc<Self>) -> Option<Room> {
        // If it was one too many, it is subtracted at once. A connection that ends in between
        // notifies a waiter all the same.
        let room = (self.open.fetch_add(1, Relaxed) < self.most).then(|| Room(Arc::clone(self)));
        if room.is_none() {
            self.open.fetch_sub(1, Relaxed);
        }
        room
    }

    /// Waits until a connection ends. It may have ended just before, so use a time limit.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    pub(crate) fn take(&self, worker: usize, room: Room) -> Seat {
        if let Some(counts) = self.workers.get(worker) {
            counts.open.fetch_add(1, Relaxed);
            counts.accepted.fetch_add(1, Relaxed);
        }
        if self.waiting.load(Relaxed) > 0 {
            self.taken.notify_waiters();
        }
        Seat { room, worker }
    }

    /// Waits until a worker takes a connection. Perhaps none does, so use a time limit.
    pub(crate) async fn taken(&self) {
        let _waiting = Waiting::new(&self.waiting);
        self.taken.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(counts) = self.room.0.workers.get(self.worker) {
            counts.open.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, Relaxed) >= self.0.most {
            self.0.freed.notify_waiters();
        }
    }
}

struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_refused_with_the_name_of_the_option() {
        let first = Listener::bind("proxy", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let error = Listener::bind("proxy", first.address()).expect_err("the port is taken");
        let said = error.to_string();
        assert!(
            said.contains("--proxy-listen") && said.contains("another program has this port"),
            "{said}"
        );
    }

    #[test]
    fn the_emptiest_worker_is_next_and_of_equals_the_one_that_accepted_least() {
        let seats = Seats::new(2, 10);
        let take = |worker| seats.take(worker, seats.room().expect("there is room"));
        let first = take(0);
        assert!(!seats.is_next(0) && seats.is_next(1));
        let _second = take(1);
        assert!(seats.is_next(0) && seats.is_next(1));
        drop(first);
        assert!(seats.is_next(0) && !seats.is_next(1));
        drop(take(0));
        assert!(seats.is_next(0), "no connection goes before one");
    }

    #[test]
    fn there_is_room_for_as_many_as_may_be_open() {
        let seats = Seats::new(1, 2);
        let (first, second) = (seats.room(), seats.room());
        assert!(first.is_some() && second.is_some() && seats.room().is_none());
        assert_eq!(seats.open(), 2);
        drop(first);
        assert!(seats.room().is_some());
    }
}
