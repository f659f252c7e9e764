//! [`Link`]: the connection of a node's requests, which is opened at its first use, and again after
//! an error.

use std::{
    fmt,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::{Either, select};
use redis::{
    AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, ServerErrorKind, Value,
    aio::MultiplexedConnection,
};
use tidings_core::{
    clock::Clock,
    log::LogError,
    spawn::{AbortHandle, Spawn},
};
use tokio::{net::TcpStream, sync::Mutex};

use super::{
    Keys, answer,
    bounded::{Bounded, Untaken},
};

/// How long one call to the server may take.
pub(super) const LIMIT: Duration = Duration::from_secs(5);

/// The scripts' error for a stream to which other programs write.
const FOREIGN: &str = "TIDINGS-FOREIGN";

/// The address of the server.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) settings: RedisConnectionInfo,
}

/// A connection, and the task that drives it.
pub(super) struct Connection {
    pub(super) asks: MultiplexedConnection,
    /// Counts the bytes since the last complete answer; the connection ends beyond a bound.
    pub(super) untaken: Untaken,
    driver: AbortHandle,
}

/// Sends requests; several tasks may use it at the same time.
pub(super) struct Link {
    place: Place,
    keys: Keys,
    clock: Arc<dyn Clock>,
    spawn: Arc<dyn Spawn>,
    open: Mutex<Option<Arc<Connection>>>,
    connections: AtomicU64,
}

/// Whether a request may have taken effect although its answer was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asks {
    /// It changes nothing.
    Reads,
    /// It may have been done.
    Writes,
}

impl Link {
    pub(super) fn new(
        place: Place,
        keys: Keys,
        clock: Arc<dyn Clock>,
        spawn: Arc<dyn Spawn>,
    ) -> Self {
        Self {
            place,
            keys,
            clock,
            spawn,
            open: Mutex::default(),
            connections: AtomicU64::new(0),
        }
    }

    pub(super) fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }

    pub(super) fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub(super) fn spawn(&self) -> &Arc<dyn Spawn> {
        &self.spawn
    }

    /// Returns a command that runs a script on the log's keys.
    pub(super) fn script(&self, text: &str) -> redis::Cmd {
        let mut command = redis::cmd("EVAL");
        command.arg(text).arg(3);
        for key in [&self.keys.records, &self.keys.table, &self.keys.nudges] {
            command.arg(key);
        }
        command
    }

    pub(super) fn nudges(&self) -> &str {
        &self.keys.nudges
    }

    /// Runs a command over the shared connection, and reads its answer.
    pub(super) async fn ask<T>(
        &self,
        command: redis::Cmd,
        asks: Asks,
        read: impl FnOnce(Value) -> Result<T, RedisError>,
    ) -> Result<T, LogError> {
        // It waits for other tasks that open the connection, one after the other.
        let connection = match self.in_time(self.connection()).await {
            Ok(connection) => connection?,
            Err(late) => return Err(lost(late, Asks::Reads)),
        };
        let mut asking = connection.asks.clone();
        let answer = self
            .in_time(command.query_async::<Value>(&mut asking))
            .await;
        if answer.is_ok() {
            connection.untaken.take();
        }

        match answer {
            Ok(Ok(answer)) => read(answer).map_err(|error| told(error, asks)),
            Ok(Err(error)) => {
                match error.kind() {
                    // The server has become a replica; its address may lead to a master again.
                    ErrorKind::Server(ServerErrorKind::ReadOnly) => {
                        self.give_up(&connection).await;
                    }
                    // Only this call is refused.
                    ErrorKind::Server(_) | ErrorKind::Extension => {}
                    _ => self.give_up(&connection).await,
                }

                Err(told(error, asks))
            }
            Err(late) => {
                self.give_up(&connection).await;
                Err(lost(late, asks))
            }
        }
    }

    /// Returns the shared connection; opens it if there is none.
    async fn connection(&self) -> Result<Arc<Connection>, LogError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = &*open {
            return Ok(Arc::clone(connection));
        }
        let connection = Arc::new(self.connect().await?);
        // Before any other task can use it.
        self.connections.fetch_add(1, Ordering::SeqCst);
        *open = Some(Arc::clone(&connection));
        Ok(connection)
    }

    /// Opens a connection to a server that may hold the log.
    pub(super) async fn connect(&self) -> Result<Connection, LogError> {
        let connecting = async {
            let stream = TcpStream::connect((&*self.place.host, self.place.port)).await?;
            stream.set_nodelay(true)?;
            let stream = Bounded::new(stream);
            let untaken = stream.untaken();

            // The caller sets the time limits.
            let config = AsyncConnectionConfig::new().set_response_timeout(None);
            let opened =
                MultiplexedConnection::new_with_config(&self.place.settings, stream, config);

            // It must also be polled during the handshake.
            let (asks, driver) = opened.await?;
            let driver = self.spawn.spawn(Box::pin(driver));
            let mut connection = Connection {
                asks,
                untaken,
                driver,
            };
            let about = connection.about().await?;
            Ok::<_, RedisError>((connection, about))
        };

        match self.in_time(connecting).await {
            Ok(Ok((connection, about))) => {
                check(&about)?;
                Ok(connection)
            }
            Ok(Err(error)) => Err(told(error, Asks::Reads)),
            Err(late) => Err(lost(late, Asks::Reads)),
        }
    }

    /// Drops a connection that has failed, unless another task did.
    async fn give_up(&self, failed: &Arc<Connection>) {
        let mut open = self.open.lock().await;
        if open.as_ref().is_some_and(|it| Arc::ptr_eq(it, failed)) {
            *open = None;
        }
    }

    /// Waits for a call, at most [`LIMIT`]: a half-open link never answers.
    pub(super) async fn in_time<T>(
        &self,
        call: impl Future<Output = T>,
    ) -> Result<T, std::io::Error> {
        let call = std::pin::pin!(call);
        match select(call, self.clock.sleep(LIMIT)).await {
            Either::Left((answer, _)) => Ok(answer),
            Either::Right(((), _)) => Err(std::io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Connection {
    /// Reads the server's properties; an empty text if the user has no right to.
    async fn about(&mut self) -> Result<String, RedisError> {
        let mut about = String::new();
        for section in ["memory", "replication"] {
            let asked = redis::cmd("INFO").arg(section).clone();
            match asked.query_async::<Value>(&mut self.asks).await {
                Ok(Value::VerbatimString { text, .. }) => about.push_str(&text),
                Ok(told) => about.push_str(&answer::text(told)?),
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) => {
                    tracing::warn!(
                        "the server does not tell this user whether it may evict the log: see that \
                         its maxmemory-policy is noeviction or volatile-*"
                    );
                    return Ok(about);
                }
                Err(error) => return Err(error),
            }
        }

        Ok(about)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // It would wait for the answers of a half-open link.
        self.driver.abort();
    }
}

/// Refuses a server that cannot keep a log.
fn check(about: &str) -> Result<(), LogError> {
    let of = |name: &str| {
        let mut lines = about.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    };
    let policy = of("maxmemory_policy").unwrap_or_default();
    if policy.starts_with("allkeys-") {
        let reason = format!(
            "its maxmemory-policy is {policy}, by which it may evict the whole log; set noeviction \
             or volatile-*"
        );
        tracing::error!("the log cannot be kept by this server: {reason}");
        return Err(LogError::Unfit { reason });
    }
    if of("role") == Some("slave") {
        let reason = "it is a replica; give the address of its master".to_owned();
        return Err(LogError::Unfit { reason });
    }

    Ok(())
}

/// Converts an error of the client library or of the server for a caller.
pub(super) fn told(error: RedisError, asks: Asks) -> LogError {
    match error.kind() {
        ErrorKind::Server(ServerErrorKind::ReadOnly) => LogError::Unfit {
            reason: "it is a replica; give the address of its master".to_owned(),
        },
        ErrorKind::Server(_) | ErrorKind::Extension => {
            if error.to_string().contains(FOREIGN) {
                let reason = "its stream has entries of another program; delete it, or give the \
                              cluster another name";
                return LogError::Unfit {
                    reason: reason.to_owned(),
                };
            }
            // It was refused before it had an effect.
            LogError::Unreachable(error.into())
        }
        _ => lost(error, asks),
    }
}

fn lost(error: impl Into<Box<dyn std::error::Error + Send + Sync>>, asks: Asks) -> LogError {
    match asks {
        Asks::Reads => LogError::Unreachable(error.into()),
        Asks::Writes => LogError::InDoubt(error.into()),
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use tidings_core::{
        clock::{ManualClock, SystemClock},
        spawn::CurrentRuntime,
    };
    use tokio::{io::AsyncWriteExt as _, net::TcpListener};

    use super::*;

    fn link(server: &TcpListener, clock: Arc<dyn Clock>) -> Link {
        let place = Place {
            host: "127.0.0.1".to_owned(),
            port: server.local_addr().expect("an address").port(),
            settings: RedisConnectionInfo::default(),
        };
        let keys = Keys {
            records: "r".to_owned(),
            table: "t".to_owned(),
            nudges: "n".to_owned(),
        };
        Link::new(place, keys, clock, Arc::new(CurrentRuntime))
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_kept() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let link = link(&server, Arc::new(SystemClock::new()));
        let asked = link.ask(link.script(""), Asks::Reads, |_| Ok(()));

        // It announces 256 MiB, and counts the bytes that are read.
        let answers = async {
            let (mut client, _) = server.accept().await.expect("a client");
            client.write_all(b"$268435456\r\n").await.expect("written");
            let mut taken = 0;
            while taken < 256 && client.write_all(&[0; 1 << 20]).await.is_ok() {
                taken += 1;
            }
            taken
        };
        let (answer, taken) = futures_util::future::join(asked, answers).await;
        assert!(
            matches!(answer, Err(LogError::Unreachable(_))),
            "{answer:?}"
        );
        assert!(taken < 64, "{taken} MiB were kept");
    }

    #[tokio::test]
    async fn callers_that_wait_for_a_connection_end_in_time() {
        // It accepts connections, and answers nothing.
        let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let clock = Arc::new(ManualClock::new());
        let link = link(&silent, Arc::clone(&clock) as _);

        let ask = || Box::pin(link.ask(link.script(""), Asks::Reads, |_| Ok(())));
        let mut asks: Vec<_> = std::iter::repeat_with(ask).take(3).collect();
        for ask in &mut asks {
            assert!(ask.now_or_never().is_none(), "nothing is answered");
        }
        clock.advance(LIMIT);
        for (at, ask) in asks.iter_mut().enumerate() {
            let ended = ask.now_or_never();
            assert!(
                matches!(ended, Some(Err(LogError::Unreachable(_)))),
                "{at}: {ended:?}"
            );
        }
    }

    #[test]
    fn a_server_that_may_evict_the_log_or_is_a_replica_is_refused() {
        let memory = |policy: &str| format!("# Memory\r\nmaxmemory_policy:{policy}\r\n");
        for policy in ["noeviction", "volatile-lru", "volatile-ttl"] {
            assert!(check(&memory(policy)).is_ok(), "{policy}");
        }
        for policy in ["allkeys-lru", "allkeys-lfu", "allkeys-random"] {
            let error = check(&memory(policy)).expect_err(policy).to_string();
            assert!(
                error.contains(policy) && error.contains("noeviction"),
                "{error}"
            );
        }
        let replica = format!("{}# Replication\r\nrole:slave\r\n", memory("noeviction"));
        assert!(matches!(check(&replica), Err(LogError::Unfit { .. })));
        // If the server does not report it, it is accepted with a warning.
        assert!(check("").is_ok());
    }
}
