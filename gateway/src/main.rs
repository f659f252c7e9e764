//! The program `tidings`: its commands, and the life of `serve`: settings, log, start, reload,
//! drain.
//!
//! Exit status of `serve`: 0 after a drain, 1 if it cannot start, 2 if its settings are refused,
//! 130 if a second signal ended it at once.

mod signals;

use std::{
    error::Error as StdError,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::{Duration, Instant},
};

use tidings::core::Chain;
use tidings_gateway::{Gateway, Log, Settings, notify, raise_descriptor_limit};

use self::signals::{Order, Signals};

/// How long the end of the program waits for the last lines of its log.
const LAST_WORDS: Duration = Duration::from_millis(500);

type Failure = Box<dyn StdError + Send + Sync>;

fn main() -> ExitCode {
    if let Some(ended) = tidings_gateway::command(std::env::args_os()) {
        return ended;
    }

    // Before the settings: the limit of connections depends on it.
    raise_descriptor_limit();
    let settings = match Settings::from_process() {
        Ok(settings) => settings,
        Err(error) => return ExitCode::from(error.report()),
    };
    let log = Log::start(&settings);

    let ended = run(settings, &log);
    if let Err(error) = &ended {
        let line = Chain(&**error).to_string().replace('\n', " ");
        log.say(&format!("tidings: {line}"));
    }
    log.flush(LAST_WORDS);

    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn run(settings: Settings, log: &Log) -> Result<(), Failure> {
    // Before the start, so that a signal during it is not lost.
    let mut signals = Signals::listen(log.clone())?;

    // Workers have threads of their own; this runtime carries loads, the store and the admin side.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tidings-node")
        .enable_all()
        .build()?;

    let ended = runtime.block_on(serve(settings, log, &mut signals));
    // Threads that are still blocked, for example by a database that hangs, are not waited for.
    runtime.shutdown_background();
    ended
}

async fn serve(settings: Settings, log: &Log, signals: &mut Signals) -> Result<(), Failure> {
    let begun = Instant::now();
    let start = Gateway::builder(settings.clone()).log(log.clone());
    let Some(gateway) = start.start_unless(signals.stop()).await? else {
        tracing::info!("stopped before it was ready");
        return Ok(());
    };

    let empty = gateway.is_empty().await.unwrap_or(false);
    announce(&gateway, Advice::of(&settings).filter(|_| empty));
    notify(tidings_gateway::State::Ready);
    tracing::info!(
        node = gateway.node().id(),
        proxy = %gateway.proxy_address(),
        admin = %gateway.admin_address(),
        status = gateway.status_address().map(tracing::field::display),
        millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        "ready"
    );

    while let Order::Reload = signals.next().await {
        reload(&gateway, &settings);
    }

    notify(tidings_gateway::State::Stopping);
    let begun = Instant::now();
    tracing::info!("stopping: the proxy takes no new connections; running requests finish");
    gateway.shutdown().await;
    let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(millis, "stopped");
    Ok(())
}

/// Reads the settings again; the log names those that apply only at the next start.
fn reload(gateway: &Gateway, started: &Settings) {
    notify(tidings_gateway::State::Reloading);
    match Settings::from_process() {
        Ok(settings) => {
            let fixed = started.fixed_differences(&settings);
            if !fixed.is_empty() {
                tracing::warn!(settings = fixed.join(", "), "these apply at the next start");
            }

            gateway.reload(&settings);
            tracing::info!(
                log = settings.log,
                groups = settings.allow_groups.as_ref().map(|groups| groups.join(",")),
                key_names = %settings.key_names,
                "settings read again"
            );
        }
        Err(error) => {
            let error = error.to_string().replace('\n', "; ");
            tracing::error!(
                error,
                "the settings were not read again: nothing has changed"
            );
        }
    }

    notify(tidings_gateway::State::Ready);
}

/// How to create the first key: the advice that the banner gives after the addresses.
struct Advice {
    /// Whether the admin side asks for a token.
    token: bool,
    /// The name under which requests carry the key.
    name: String,
    /// A group that the consumer has to be in.
    group: Option<String>,
}

impl Advice {
    /// Returns the advice, unless requests need no key.
    fn of(settings: &Settings) -> Option<Self> {
        let names = settings.key_names.to_string();
        let groups = settings.allow_groups.as_deref().unwrap_or_default();
        settings.plugins.asks_for_key().then(|| Self {
            token: settings.admin_token.is_some(),
            name: names.split(',').next().unwrap_or(&names).to_owned(),
            group: groups.first().cloned(),
        })
    }
}

/// How the advice gives the admin token to curl.
const BEARER: &str = " -H \"Authorization: Bearer $TIDINGS_ADMIN_TOKEN\"";

/// Prints the addresses, and on the first start what to try.
fn announce(gateway: &Gateway, advice: Option<Advice>) {
    let (proxy, admin) = (gateway.proxy_address(), gateway.admin_address());
    let mut text = format!("proxy listening on {proxy}\nadmin listening on {admin}\n");
    if let Some(status) = gateway.status_address() {
        text.push_str(&format!("status listening on {status}\n"));
    }

    if let Some(Advice { token, name, group }) = advice {
        let (proxy, admin) = (reachable(proxy), reachable(admin));
        let is_set = |name: &str| std::env::var_os(name).is_some();
        let (token, hint) = match token {
            false => ("", ""),
            true if is_set("TIDINGS_ADMIN_TOKEN_FILE") => (
                " -H \"Authorization: Bearer $(cat $TIDINGS_ADMIN_TOKEN_FILE)\"",
                "",
            ),
            true if is_set("TIDINGS_ADMIN_TOKEN") => (BEARER, ""),
            true => (BEARER, " (with the admin token in TIDINGS_ADMIN_TOKEN)"),
        };
        let member = group.map_or_else(String::new, |group| {
            format!("\x20 curl{token} http://{admin}/consumers/bob/acls --data-urlencode 'group={group}'\n")
        });
        text.push_str(&format!(
            "\nNo one has a key yet. To create one, use it, revoke it and see it refused{hint}:\n\n\
             \x20 curl{token} http://{admin}/consumers -d username=bob\n\
             {member}\
             \x20 curl{token} http://{admin}/consumers/bob/key-auth -d key=abcd\n\
             \x20 curl http://{proxy}/ -H '{name}: abcd'\n\
             \x20 curl{token} -X DELETE http://{admin}/consumers/bob/key-auth/abcd\n\
             \x20 curl http://{proxy}/ -H '{name}: abcd'\n\n"
        ));
    }

    // On a thread of its own, because standard output may be a pipe that no one empties. A failure
    // is ignored, because no one may be reading.
    std::thread::spawn(move || {
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    });
}

/// Returns an address that reaches a listener from this machine: loopback if it listens on all.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
    }
    address
}
