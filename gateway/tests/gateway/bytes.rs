//! Any bytes at the proxy side, and an upstream that behaves as the first of them say: nothing
//! panics, nothing hangs, no header reaches the upstream in the gateway's name, and no request is
//! repeated more than once.
//!
//! The fuzz target `proxy_bytes` drives the same rig.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use tidings_gateway::{BuiltIn, Environment, Gateway, Settings};
use tokio::runtime::Runtime;

/// Longer than any answer takes.
const NEVER: Duration = Duration::from_secs(8);

/// A gateway, and an upstream that is told how to behave.
#[derive(Debug)]
pub(crate) struct Rig {
    _runtime: Runtime,
    gateway: Gateway,
    upstream: Arc<Upstream>,
}

#[derive(Debug, Default)]
struct Upstream {
    manner: AtomicU8,
    executed: AtomicUsize,
    forged: AtomicBool,
    panicked: AtomicBool,
}

/// What the upstream answers; it hangs up after all but the first.
const MANNERS: [&str; 8] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "",
    "HTTP/1.1 200 OK\r\n",
    "nonsense\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
];

impl Rig {
    pub(crate) fn new() -> Self {
        let upstream: Arc<Upstream> = Arc::default();
        let hook = Arc::clone(&upstream);
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let thread = thread::current();
            let ours = thread
                .name()
                .is_some_and(|name| name.starts_with("tidings-worker"));
            hook.panicked.fetch_or(ours, SeqCst);
            before(panic);
        }));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let serving = Arc::clone(&upstream);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = Arc::clone(&serving);
                thread::spawn(move || serving.serve(stream));
            }
        });

        let flags = [
            "tidings".to_owned(),
            "--proxy-listen=127.0.0.1:0".to_owned(),
            "--admin-listen=127.0.0.1:0".to_owned(),
            "--database=sqlite::memory:".to_owned(),
            "--workers=1".to_owned(),
            format!("--upstream=http://{address}"),
        ];
        let settings = Settings {
            plugins: BuiltIn::None,
            ..Settings::resolve(flags, &Environment::empty()).expect("allowed settings")
        };
        let runtime = Runtime::new().expect("a runtime");
        let gateway = runtime
            .block_on(Gateway::start(settings))
            .expect("it starts");
        Self {
            _runtime: runtime,
            gateway,
            upstream,
        }
    }

    /// Sends the bytes after the first to both sides.
    pub(crate) fn run(&self, bytes: &[u8]) {
        let Some((manner, bytes)) = bytes.split_first() else {
            return;
        };
        // Kept connections first, so that there is something to repeat on.
        self.upstream.manner.store(0, SeqCst);
        exchange(
            self.gateway.proxy_address(),
            b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
        );

        self.upstream.manner.store(*manner, SeqCst);
        let before = self.upstream.executed.load(SeqCst);
        exchange(self.gateway.proxy_address(), bytes);
        let executed = self.upstream.executed.load(SeqCst) - before;
        // Each request has a version in its head.
        let most = bytes
            .windows(7)
            .filter(|window| window == b"HTTP/1.")
            .count();
        assert!(
            executed <= 2 * most,
            "{executed} times for at most {most} requests"
        );
        exchange(self.gateway.admin_address(), bytes);

        assert!(
            !self.upstream.forged.load(SeqCst),
            "a forged header came through"
        );
        assert!(!self.upstream.panicked.load(SeqCst), "a worker panicked");
    }
}

impl Upstream {
    fn serve(&self, stream: TcpStream) {
        let mut reader = BufReader::new(stream);
        loop {
            let mut body = false;
            let mut lines = 0;
            loop {
                let mut line = Vec::new();
                match reader.read_until(b'\n', &mut line) {
                    Ok(0) | Err(_) => return,
                    Ok(_) => {}
                }
                if line == b"\r\n" {
                    break;
                }
                if lines > 0 {
                    let name = line.split(|&byte| byte == b':').next().unwrap_or_default();
                    let name: String = name.iter().map(|&byte| plain(byte)).collect();
                    let ours = ["x-consumer-", "x-credential-", "x-authenticated-"];
                    let forged = ours.iter().any(|ours| name.starts_with(ours))
                        || ["x-api-key", "x-anonymous-consumer"].contains(&name.as_str());
                    self.forged.fetch_or(forged, SeqCst);
                    body |= name == "content-length" || name == "transfer-encoding";
                }
                lines += 1;
            }
            self.executed.fetch_add(1, SeqCst);

            let manner = usize::from(self.manner.load(SeqCst)) % MANNERS.len();
            if reader
                .get_mut()
                .write_all(MANNERS[manner].as_bytes())
                .is_err()
                || manner != 0
                || body
            {
                return;
            }
        }
    }
}

/// A character of a header's name as CGI reads it.
fn plain(byte: u8) -> char {
    if byte.is_ascii_alphanumeric() {
        byte.to_ascii_lowercase().into()
    } else {
        '-'
    }
}

/// Sends bytes, closes the sending side, and reads until the other end closes.
fn exchange(address: SocketAddr, bytes: &[u8]) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(NEVER)).expect("a limit");
    // The other end may close before it has read everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        let hangs = matches!(
            error.kind(),
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
        );
        assert!(
            !hangs,
            "no end after {:?}",
            String::from_utf8_lossy(&answer)
        );
    }
}
