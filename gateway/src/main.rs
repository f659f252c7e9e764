//! The program `tidings`: settings, logging, start, and the end in good order.
//!
//! Exit status: 0 after a drain, 1 when it cannot start, 2 when its settings are refused.

use std::{
    error::Error as StdError,
    io::{self, IsTerminal, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
};

use tidings_gateway::{Gateway, LogFormat, Settings};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// What a shell gives a program that a second SIGINT has ended.
const INTERRUPTED: i32 = 130;

fn main() -> ExitCode {
    if let Some(ended) = tidings_gateway::capture(std::env::args_os()) {
        return ended;
    }
    let settings = match Settings::from_process() {
        Ok(settings) => settings,
        Err(error) => return ExitCode::from(error.report()),
    };
    log(&settings);
    match run(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("tidings: {}", chain(&*error)));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: Settings) -> Result<(), Box<dyn StdError + Send + Sync>> {
    // Workers have threads of their own; this runtime carries loads, the store and the admin side.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .thread_name("tidings-node")
        .enable_all()
        .build()?;
    runtime.block_on(async {
        // Before the start, so that a signal during it is not lost.
        let mut signals = Signals::new()?;
        let token = settings.admin_token.is_some();
        let gateway = tokio::select! {
            gateway = Gateway::start(settings) => gateway?,
            () = signals.next() => return Ok(()),
        };
        let empty = gateway.is_empty().await.unwrap_or(false);
        announce(&gateway, empty, token);

        signals.next().await;
        tracing::info!("stopping: no new connections, finishing what runs");
        tokio::select! {
            () = gateway.shutdown() => {}
            () = signals.next() => {
                say("tidings: stopped at once by a second signal");
                std::process::exit(INTERRUPTED);
            }
        }
        Ok(())
    })
}

fn log(settings: &Settings) {
    // The settings have been checked; a filter that is none would say so here again, and logging is no reason to fail.
    let filter = EnvFilter::try_new(&settings.log).unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        // Its own words about a line that could not be written go where that line went, and panic there: a full
        // disk under the log would end requests.
        .log_internal_errors(false)
        .with_ansi(io::stderr().is_terminal());
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// Writes to standard error, where perhaps nobody listens any more.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says where it listens, and on the first start what to try.
fn announce(gateway: &Gateway, empty: bool, token: bool) {
    let (proxy, admin) = (gateway.proxy_address(), gateway.admin_address());
    let mut text = format!("proxy listening on {proxy}\nadmin listening on {admin}\n");
    if empty {
        let (proxy, admin) = (reachable(proxy), reachable(admin));
        let token = if token {
            " -H \"Authorization: Bearer $TIDINGS_ADMIN_TOKEN\""
        } else {
            ""
        };
        text.push_str(&format!(
            "\nNobody has a key yet. To let somebody in, and out again:\n\n\
             \x20 curl{token} http://{admin}/consumers -d username=bob\n\
             \x20 curl{token} http://{admin}/consumers/bob/key-auth -d key=abcd\n\
             \x20 curl http://{proxy}/ -H 'apikey: abcd'\n\
             \x20 curl{token} -X DELETE http://{admin}/consumers/bob/key-auth/abcd\n\
             \x20 curl http://{proxy}/ -H 'apikey: abcd'\n\n"
        ));
    }
    // Nobody may be reading; that is no reason to stop.
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The address to use from this machine where one listens on all.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::from(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::from(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

/// An error and its causes on one line, leaving out a cause that the message before it repeats.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
