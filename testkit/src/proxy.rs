//! [`Proxy`]: a link to a server that can fail.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::timeout,
};

use crate::Database;

/// The longest message that is examined as a whole.
const MESSAGE: usize = 64 * 1024;

/// What the proxy does with what passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Everything passes.
    Open,
    /// Connections are closed, and new ones are closed at once.
    Refusing,
    /// Nothing passes, and nothing is closed.
    Silent,
    /// Everything passes after a delay.
    Slow(Duration),
    /// Everything passes, on every other connection after a delay: data on one connection overtakes
    /// earlier data on another.
    Uneven(Duration),
    /// The server has lost its connections and the clients have not: what clients send is read and
    /// discarded. New connections are like that, too. They stay so after the link opens again.
    HalfOpen,
    /// The next commit is lost. From then on, the link does what [`Then`] says.
    Losing(Commit, Then),
}

/// Which message of a commit is lost with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    /// The server never receives it.
    Question,
    /// The server has committed, and the client never learns of it.
    Answer,
}

/// What the link does once a commit was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Everything passes.
    Open,
    /// It refuses all connections.
    Refusing,
}

/// Whether a connection is slow while the link is uneven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lane {
    Fast,
    Slow,
}

impl Lane {
    fn other(self) -> Self {
        match self {
            Self::Fast => Self::Slow,
            Self::Slow => Self::Fast,
        }
    }
}

/// A link to a server. It ends when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    server: Arc<AtomicU16>,
    link: watch::Sender<Link>,
    accepting: AbortHandle,
}

impl Proxy {
    /// Starts an open proxy to the server of a database.
    ///
    /// # Panics
    ///
    /// No port is free.
    pub async fn to(database: &Database) -> Self {
        Self::to_port(database.port()).await
    }

    /// Starts an open proxy to whatever listens on a port.
    ///
    /// # Panics
    ///
    /// No port is free.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// use tidings_testkit::{Broker, Link, Protocol, Proxy};
    ///
    /// # async fn example() {
    /// let broker = Broker::start(Protocol::Nats);
    /// let proxy = Proxy::to_port(broker.port()).await;
    /// println!("connect to {}", broker.url_by(proxy.port()));
    /// proxy.set(Link::Silent); // from here on nothing passes, and nothing is closed
    /// # }
    /// ```
    pub async fn to_port(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();

        let (link, _) = watch::channel(Link::Open);
        let server = Arc::new(AtomicU16::new(server));
        let (own, to) = (link.clone(), Arc::clone(&server));
        let accepting = tokio::spawn(async move {
            let mut lane = Lane::Slow;
            while let Ok((client, _)) = listener.accept().await {
                if *own.borrow() != Link::Refusing {
                    let server = to.load(Ordering::SeqCst);
                    lane = lane.other();
                    tokio::spawn(pass(client, server, own.clone(), lane));
                }
            }
        });

        Self {
            port,
            server,
            link,
            accepting: accepting.abort_handle(),
        }
    }

    /// Returns the port on which it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address of a database through the proxy.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        let name = database.name();
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Directs later connections to the server of another database.
    pub fn lead_to(&self, database: &Database) {
        self.server.store(database.port(), Ordering::SeqCst);
    }

    /// Changes what the link does, for open connections too.
    pub fn set(&self, link: Link) {
        self.link.send_replace(link);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.link.send_replace(Link::Refusing);
    }
}

/// Carries one connection until either side, or the proxy, ends it.
async fn pass(
    mut client: TcpStream,
    server: u16,
    link: watch::Sender<Link>,
    lane: Lane,
) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await?;
    let mut changed = link.subscribe();
    let (mut asked, mut answered) = (vec![0; MESSAGE], vec![0; MESSAGE]);
    loop {
        let now = *changed.borrow_and_update();
        match now {
            Link::Refusing => return Ok(()),
            Link::Silent => {
                // Neither side is read from until the link changes.
                if changed.changed().await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Link::HalfOpen => {
                drop(server);
                return swallow(client, changed).await;
            }
            Link::Open | Link::Slow(_) | Link::Uneven(_) | Link::Losing(..) => {}
        }

        tokio::select! {
            read = client.read(&mut asked) => {
                let message = &asked[..read?];
                if message.is_empty() {
                    return Ok(());
                }
                if let Link::Losing(commit, then) = now && is_commit(message) {
                    if commit == Commit::Answer {
                        server.write_all(message).await?;
                        // The answer comes after the commit.
                        let _ = server.read(&mut answered).await?;
                    }

                    link.send_replace(match then {
                        Then::Open => Link::Open,
                        Then::Refusing => Link::Refusing,
                    });
                    return Ok(());
                }

                hold(now, lane, &mut changed).await;
                server.write_all(message).await?;
            }
            read = server.read(&mut answered) => {
                let message = &answered[..read?];
                if message.is_empty() {
                    return Ok(());
                }
                hold(now, lane, &mut changed).await;
                client.write_all(message).await?;
            }
            ended = changed.changed() => {
                if ended.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// Delays a message while the link is slow for it, until the link changes.
async fn hold(link: Link, lane: Lane, changed: &mut watch::Receiver<Link>) {
    let time = match (link, lane) {
        (Link::Slow(time), _) | (Link::Uneven(time), Lane::Slow) => time,
        (Link::Uneven(_), Lane::Fast)
        | (
            Link::Open | Link::Refusing | Link::Silent | Link::HalfOpen | Link::Losing(..),
            Lane::Fast | Lane::Slow,
        ) => return,
    };
    let _ = timeout(time, changed.wait_for(|now| *now != link)).await;
}

/// Reads and discards what a client sends, until it hangs up or the link refuses it.
async fn swallow(mut client: TcpStream, mut link: watch::Receiver<Link>) -> io::Result<()> {
    let mut said = vec![0; MESSAGE];
    loop {
        tokio::select! {
            read = client.read(&mut said) => {
                if read? == 0 {
                    return Ok(());
                }
            }
            _ = link.wait_for(|now| *now == Link::Refusing) => return Ok(()),
        }
    }
}

/// Returns whether the message ends with the statement `COMMIT`; `READ COMMITTED` does not.
fn is_commit(message: &[u8]) -> bool {
    message.ends_with(b"COMMIT\0")
}
