//! [`Pool`]: a worker's kept-alive connections to the upstream.

use std::{cell::RefCell, rc::Rc, time::Duration};

use hyper::client::conn::http1::SendRequest;
use tokio::time::Instant;

use super::{client_body::ClientBody, wire::Heard};

/// How many idle connections a worker keeps.
const MOST_IDLE: usize = 128;
/// How long one is kept. Shorter than what servers commonly allow, so that few requests meet a
/// closed one.
const LONGEST_IDLE: Duration = Duration::from_secs(30);

/// A connection to the upstream that takes one request at a time.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<ClientBody>,
    pub(super) heard: Rc<Heard>,
}

/// Idle connections, the one used last on top. Clones are handles of the same pool.
#[derive(Clone, Debug, Default)]
pub(super) struct Pool {
    idle: Rc<RefCell<Vec<Idle>>>,
}

#[derive(Debug)]
struct Idle {
    connection: Connection,
    since: Instant,
}

impl Pool {
    /// Takes a connection that can take a request, as far as this side can tell.
    pub(super) fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.borrow_mut();
        while let Some(Idle { connection, since }) = idle.pop() {
            if since.elapsed() > LONGEST_IDLE {
                // The connections below it have been idle for longer.
                idle.clear();
                return None;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }

        None
    }

    /// Takes back a connection whose answer was read to its end.
    pub(super) fn put(&self, connection: Connection) {
        if connection.sender.is_closed() || connection.heard.is_deaf() {
            return;
        }

        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MOST_IDLE {
            idle.remove(0);
        }
        idle.push(Idle {
            connection,
            since: Instant::now(),
        });
    }

    /// Closes connections that have been idle for too long, and drops those that the upstream has
    /// closed.
    pub(super) fn sweep(&self) {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|idle| {
            !idle.connection.sender.is_closed() && idle.since.elapsed() <= LONGEST_IDLE
        });
    }
}
