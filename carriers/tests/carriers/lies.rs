//! Carriers to a Redis server that announces false sizes of answers.

use std::{sync::Arc, time::Duration};

use tidings_carriers::Redis;
use tidings_core::{
    clock::ManualClock,
    log::{Wake, WakeCarrier as _},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const NEVER: Duration = Duration::from_secs(60);

const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$12\r\ntidings.shop\r\n:1\r\n";

/// The maximum that is sent of one answer. More than both ends of a connection buffer.
const SENT: usize = 24 << 20;

/// Answers of gigabytes: the beginning of each, and its continuation.
const LIES: [(&str, &str); 3] = [
    ("*2147483647\r\n", ":1\r\n"),
    ("$2147483647\r\n", "aaaa"),
    ("+", "aaaa"),
];

/// A server that answers correctly up to a command, and then lies.
#[derive(Clone, Copy, Debug)]
struct Liar {
    to: &'static str,
    /// Its first, correct answers.
    honest: &'static str,
    lie: (&'static str, &'static str),
}

impl Liar {
    /// Serves each connection. Returns the address, and a receiver that reports for each ended
    /// connection how much of the lie was taken.
    async fn serve(self) -> (String, mpsc::UnboundedReceiver<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (ended, ends) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let ended = ended.clone();
                tokio::spawn(async move {
                    let _ = ended.send(self.converse(stream).await);
                });
            }
        });
        (format!("redis://{address}"), ends)
    }

    /// Answers until the other side closes the connection. Returns how much of the lie it took.
    async fn converse(self, mut stream: TcpStream) -> usize {
        let mut heard = String::new();
        let mut bytes = [0; 4_096];
        loop {
            let came = stream.read(&mut bytes).await.unwrap_or_default();
            if came == 0 {
                return 0;
            }
            heard += &String::from_utf8_lossy(&bytes[..came]);

            while let Some(at) = heard.find("\r\n") {
                let line: String = heard.drain(..at + 2).collect();
                if line.starts_with(self.to) {
                    return self.lie(&mut stream).await;
                }
                if line.starts_with("SETINFO") && stream.write_all(b"+OK\r\n").await.is_err() {
                    return 0;
                }
            }
        }
    }

    async fn lie(self, stream: &mut TcpStream) -> usize {
        let (begin, filler) = self.lie;
        let piece = filler.repeat(4_096);
        let first = [self.honest, begin].concat();
        let mut sent = stream.write_all(first.as_bytes()).await;
        let mut taken = 0;
        while sent.is_ok() && taken < SENT {
            taken += piece.len();
            sent = stream.write_all(piece.as_bytes()).await;
        }
        taken
    }
}

/// Makes a carrier whose own time limits never pass, because its clock does not move.
fn carrier(address: &str) -> Redis {
    let clock = Arc::new(ManualClock::new());
    Redis::with_clock(address, "shop", clock).expect("an address")
}

/// Waits until the carrier has ended a connection, long before the end of the answer.
async fn hangs_up(ends: &mut mpsc::UnboundedReceiver<usize>, liar: Liar) {
    let taken = timeout(NEVER, ends.recv()).await.expect("it hangs up");
    let taken = taken.expect("the server is there");
    assert!(taken < SENT, "{liar:?}: it took {taken} bytes");
}

#[tokio::test]
async fn a_listener_leaves_a_server_whose_answer_has_no_end() {
    for lie in LIES {
        for (to, honest) in [
            ("SETINFO", ""),
            ("SUBSCRIBE", ""),
            ("SUBSCRIBE", SUBSCRIBED),
        ] {
            let liar = Liar { to, honest, lie };
            let (address, mut ends) = liar.serve().await;
            let carrier = carrier(&address);
            let listening = async {
                let mut wakes = carrier.listen().await?;
                wakes.next().await
            };
            let heard = timeout(NEVER, listening).await;
            heard.expect("it does not wait").expect_err("refused");
            hangs_up(&mut ends, liar).await;
        }
    }
}

#[tokio::test]
async fn a_sender_leaves_a_server_whose_answer_has_no_end() {
    for lie in LIES {
        for to in ["SETINFO", "PUBLISH"] {
            let honest = "";
            let liar = Liar { to, honest, lie };
            let (address, mut ends) = liar.serve().await;
            let carrier = carrier(&address);
            carrier.wake(Wake::Look);
            hangs_up(&mut ends, liar).await;
        }
    }
}
