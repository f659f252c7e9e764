//! The loop that takes connections from a listening socket.

#![expect(
    clippy::disallowed_methods,
    reason = "these are time limits of sockets, which no clock of ours can hurry; tests set them short"
)]

use std::{future::Future, io, net, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use tidings::core::Chain;
use tokio::{
    io::{Interest, unix::AsyncFd},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::listener::{Listener, Seat, Seats};

/// How long a worker lets a less loaded one go first. That one may be busy, or blocked for good.
const COURTESY: Duration = Duration::from_millis(1);
/// How many connections a worker takes at once after it waited for another worker in vain.
const BATCH: usize = 16;
/// Pause after an error that an immediate retry would repeat, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// One worker's descriptor of a listening socket, registered with that worker's event loop.
#[derive(Debug)]
pub(crate) struct Acceptor {
    listener: AsyncFd<net::TcpListener>,
    seats: Arc<Seats>,
    worker: usize,
}

impl Acceptor {
    /// Registers the socket with the event loop of this thread.
    #[expect(
        deprecated,
        reason = "its successor is an unsafe function, to be called by those who vouch that the descriptor stays open \
                  and the same; that of a std listener does, and unsafe code is forbidden here"
    )]
    pub(crate) fn new(listener: Listener, seats: Arc<Seats>, worker: usize) -> io::Result<Self> {
        let listener = AsyncFd::with_interest(listener.into_socket(), Interest::READABLE)?;
        Ok(Self {
            listener,
            seats,
            worker,
        })
    }

    /// Accepts until `stop` resolves, then takes what is queued already and closes this descriptor.
    pub(crate) async fn run(
        self,
        stop: impl Future<Output = ()>,
        mut take: impl FnMut(TcpStream, SocketAddr, Seat),
        full: impl Fn(),
    ) {
        let mut stop = pin!(stop);
        loop {
            tokio::select! {
                biased;
                () = &mut stop => break,
                () = self.some(&mut take, &full) => {}
            }
        }

        // The kernel has already completed the handshake for queued connections, and requests may
        // be in them.
        while let Some(room) = self.seats.room()
            && let Ok((stream, peer)) = next(self.listener.get_ref())
        {
            take(stream, peer, self.seats.take(self.worker, room));
        }
    }

    /// Waits for connections and takes one or more. Cancel safe: what was accepted has been handed
    /// over.
    async fn some(&self, take: &mut impl FnMut(TcpStream, SocketAddr, Seat), full: &impl Fn()) {
        let Ok(mut ready) = self.listener.readable().await else {
            // The event loop is shutting down; `stop` is about to say so.
            return sleep(PAUSE).await;
        };

        let mut batch = 1;
        if !self.seats.is_next(self.worker) {
            match timeout(COURTESY, self.seats.taken()).await {
                Ok(()) if !self.seats.is_next(self.worker) => return,
                Ok(()) => {}
                Err(_in_vain) => batch = BATCH,
            }
        }

        for _ in 0..batch {
            let Some(room) = self.seats.room() else {
                tracing::warn!(
                    open = self.seats.open(),
                    "the limit of --max-connections is reached: further connections wait"
                );
                full();
                // With an end, because one may have ended before this waits.
                let _ = timeout(PAUSE, self.seats.freed()).await;
                return;
            };

            match ready.try_io(|listener| next(listener.get_ref())) {
                Ok(Ok((stream, peer))) => take(stream, peer, self.seats.take(self.worker, room)),
                Ok(Err(error)) if is_of_one_connection(&error) => {}
                Ok(Err(error)) => {
                    tracing::error!(error = %Chain(&error), "accepting failed");
                    return sleep(PAUSE).await;
                }
                // Another worker was faster; the readiness is cleared.
                Err(_would_block) => return,
            }
        }
    }
}

fn next(listener: &net::TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept()?;
    stream.set_nonblocking(true)?;
    // Answers are written whole; waiting to fill a segment only delays them. Failure costs that
    // delay alone.
    let _ = stream.set_nodelay(true);
    Ok((TcpStream::from_std(stream)?, peer))
}

/// Returns whether the error concerns only the connection that was being accepted, and not the
/// next.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}
