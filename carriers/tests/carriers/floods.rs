//! A flood of small messages from a Redis server, and a listener that is busy.

use std::{sync::Arc, time::Duration};

use tidings_carriers::Redis;
use tidings_core::{clock::ManualClock, log::WakeCarrier as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

const NEVER: Duration = Duration::from_secs(60);

pub(crate) const SUBSCRIBED: &str = "*3\r\n$9\r\nsubscribe\r\n$12\r\ntidings.shop\r\n:1\r\n";

/// The maximum that is sent while no one takes it. More than both ends of a connection buffer.
const SENT: usize = 12 << 20;

/// How long a server waits for room before it reports that it is blocked.
const HELD_UP: Duration = Duration::from_secs(3);

/// A message, as a subscriber receives it.
pub(crate) fn message(payload: &str) -> String {
    let length = payload.len();
    format!("*3\r\n$7\r\nmessage\r\n$12\r\ntidings.shop\r\n${length}\r\n{payload}\r\n")
}

/// A server that passes on published messages, and then floods its listener. It reports how much
/// was taken when it was blocked, and then that there was room again.
async fn flooding() -> (String, mpsc::UnboundedReceiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (progress, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut line, mut publisher) = (None, None);
        while line.is_none() || publisher.is_none() {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            match converse(&mut stream).await {
                None => line = Some(stream),
                Some(payload) => publisher = Some((stream, payload)),
            }
        }
        let (mut line, (_publisher, payload)) = line.zip(publisher).expect("both are there");
        let _ = line.write_all(message(&payload).as_bytes()).await;
        flood(&mut line, &progress).await;
    });
    (format!("redis://{address}"), told)
}

/// Answers until a connection subscribes or publishes. Returns which of the two.
async fn converse(stream: &mut TcpStream) -> Option<String> {
    let (mut heard, mut bytes) = (String::new(), [0; 4_096]);
    loop {
        let came = stream.read(&mut bytes).await.expect("a command");
        assert!(came > 0, "it hangs up after {heard:?}");
        heard += &String::from_utf8_lossy(&bytes[..came]);

        if heard.contains("SUBSCRIBE") {
            stream.write_all(SUBSCRIBED.as_bytes()).await.expect("sent");
            return None;
        }
        if let Some((_, published)) = heard.split_once("tidings.shop\r\n") {
            let payload = published.split("\r\n").nth(1).expect("it comes at once");
            stream.write_all(b":1\r\n").await.expect("sent");
            return Some(payload.to_owned());
        }
        for _ in heard.matches("SETINFO") {
            stream.write_all(b"+OK\r\n").await.expect("sent");
        }
        heard.clear();
    }
}

async fn flood(line: &mut TcpStream, progress: &mpsc::UnboundedSender<usize>) {
    let piece = message("x").repeat(1_000);
    let mut taken = 0;
    while taken < SENT {
        let mut writing = std::pin::pin!(line.write_all(piece.as_bytes()));
        if timeout(HELD_UP, &mut writing).await.is_err() {
            let _ = progress.send(taken);
            writing.await.expect("the listener is there");
            break;
        }
        taken += piece.len();
    }
    let _ = progress.send(taken);
}

#[tokio::test]
async fn a_flood_waits_at_the_server_while_its_listener_takes_nothing() {
    let (address, mut told) = flooding().await;
    let clock = Arc::new(ManualClock::new());
    let carrier = Redis::with_clock(&address, "shop", clock).expect("an address");
    let listening = timeout(NEVER, carrier.listen()).await.expect("it listens");
    let mut wakes = listening.expect("it listens");

    let taken = timeout(NEVER, told.recv()).await.expect("it comes");
    let taken = taken.expect("the server is there");
    assert!(taken < SENT, "it took {taken} bytes");

    // The connection continues as soon as its listener does.
    let room = async {
        tokio::select! {
            room = told.recv() => room,
            () = async { while wakes.next().await.is_ok() {} } => panic!("it is not given up"),
        }
    };
    timeout(NEVER, room)
        .await
        .expect("it comes")
        .expect("the server is there");
}
