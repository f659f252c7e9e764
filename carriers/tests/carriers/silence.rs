//! A Redis listener that receives nothing: it checks its link.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::FutureExt as _;
use tidings_carriers::Redis;
use tidings_core::{
    clock::ManualClock,
    log::{Wake, WakeCarrier as _, WakeUps},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout,
};

use crate::floods::{SUBSCRIBED, message};

const NEVER: Duration = Duration::from_secs(60);

/// The answer to a `PING` on a listening connection.
const PONG: &str = "*2\r\n$4\r\npong\r\n$0\r\n\r\n";

/// Whether a server answers pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Yes,
    No,
    /// After more messages of others than a connection reads ahead.
    BehindFlood,
}

/// A server that passes on published messages to the last subscriber. It reports each ping.
async fn server(answers: Answers) -> (String, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (asked, told) = mpsc::unbounded_channel();
    let (publish, mut published) = mpsc::unbounded_channel();
    let (subscribe, mut subscribed) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (publish, subscribe) = (publish.clone(), subscribe.clone());
            tokio::spawn(converse(stream, publish, subscribe));
        }
    });
    tokio::spawn(async move {
        let mut line: TcpStream = subscribed.recv().await.expect("one listens");
        let mut bytes = [0; 4_096];
        loop {
            tokio::select! {
                payload = published.recv() => {
                    let payload: String = payload.expect("the server is there");
                    line.write_all(message(&payload).as_bytes()).await.expect("sent");
                }
                came = line.read(&mut bytes) => {
                    let came = came.unwrap_or_default();
                    if !bytes[..came].windows(4).any(|word| word == b"PING") {
                        return;
                    }
                    let answer = match answers {
                        Answers::Yes => PONG.to_owned(),
                        Answers::No => String::new(),
                        Answers::BehindFlood => message("x").repeat(8_000) + PONG,
                    };
                    let _ = line.write_all(answer.as_bytes()).await;
                    let _ = asked.send(());
                }
            }
        }
    });
    (format!("redis://{address}"), told)
}

/// Answers a connection until it subscribes, and then hands it over.
async fn converse(
    mut stream: TcpStream,
    publish: mpsc::UnboundedSender<String>,
    subscribe: mpsc::UnboundedSender<TcpStream>,
) {
    let mut bytes = [0; 4_096];
    loop {
        let came = stream.read(&mut bytes).await.unwrap_or_default();
        let heard = String::from_utf8_lossy(&bytes[..came]).into_owned();
        if heard.is_empty() {
            return;
        }
        if heard.contains("SUBSCRIBE") {
            stream.write_all(SUBSCRIBED.as_bytes()).await.expect("sent");
            let _ = subscribe.send(stream);
            return;
        }

        let mut answer = "+OK\r\n".repeat(heard.matches("SETINFO").count());
        if let Some((_, published)) = heard.split_once("tidings.shop\r\n") {
            let payload = published.split("\r\n").nth(1).expect("it comes at once");
            let _ = publish.send(payload.to_owned());
            answer += ":1\r\n";
        }
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// A listener on a clock that the test drives, and a receiver of its pings.
async fn listener(
    answers: Answers,
) -> (
    String,
    Redis,
    Box<dyn WakeUps>,
    ManualClock,
    mpsc::UnboundedReceiver<()>,
) {
    let (address, asked) = server(answers).await;
    let clock = ManualClock::new();
    let carrier = Redis::with_clock(&address, "shop", Arc::new(clock.clone()));
    let carrier = carrier.expect("an address");
    let listening = timeout(NEVER, carrier.listen()).await.expect("it answers");
    let wakes = listening.expect("it listens");
    (address, carrier, wakes, clock, asked)
}

#[tokio::test]
async fn a_listener_whose_server_answers_when_it_is_asked_goes_on() {
    let (address, _carrier, mut wakes, clock, mut asked) = listener(Answers::Yes).await;
    let mut next = pin!(wakes.next());
    for _ in 0..2 {
        assert!(next.as_mut().now_or_never().is_none(), "nothing comes");
        // Its limits are longer than a second, and what it waits for arrives at once.
        let asks = async {
            loop {
                clock.advance(Duration::from_secs(1));
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                if asked.try_recv().is_ok() {
                    return;
                }
            }
        };
        tokio::select! {
            heard = &mut next => panic!("{heard:?}"),
            asks = timeout(NEVER, asks) => asks.expect("it asks"),
        }
        // The answer is taken before more time passes.
        let taken = async {
            for _ in 0..1_000 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            heard = &mut next => panic!("{heard:?}"),
            () = taken => {}
        }
    }

    let other = Redis::new(&address, "shop").expect("an address");
    other.wake(Wake::Look);
    let heard = timeout(NEVER, next).await.expect("it comes");
    assert_eq!(heard.expect("the link is there"), Wake::Look);
}

/// Nothing is sent over a half-open link, so nothing shows that it is half-open.
#[tokio::test]
async fn a_listener_leaves_a_server_that_gives_no_sign_of_life() {
    let (_, _carrier, mut wakes, clock, mut asked) = listener(Answers::No).await;
    let mut next = pin!(wakes.next());
    assert!(next.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_millis(14_999));
    assert!(next.as_mut().now_or_never().is_none());
    assert!(asked.try_recv().is_err(), "not before its time");
    clock.advance(Duration::from_millis(1));
    tokio::select! {
        heard = &mut next => panic!("{heard:?}"),
        asked = timeout(NEVER, asked.recv()) => asked.expect("it asks").expect("the server is there"),
    }

    clock.advance(Duration::from_secs(5));
    let left = timeout(NEVER, next).await.expect("it does not wait");
    left.expect_err("the link is gone");
}

/// Messages that are not taken stop the reading of a connection, and so of the answer after them.
#[tokio::test]
async fn an_answer_behind_a_flood_is_a_sign_of_life() {
    let (_, _carrier, mut wakes, clock, mut asked) = listener(Answers::BehindFlood).await;
    let mut next = wakes.next();
    assert!(next.as_mut().now_or_never().is_none());
    clock.advance(Duration::from_secs(15));
    let heard = timeout(NEVER, next)
        .await
        .expect("it does not wait for the answer");
    assert_eq!(heard.expect("the link is there"), Wake::Look);
    timeout(NEVER, asked.recv()).await.expect("it was asked");

    for _ in 1..8_000 {
        let heard = timeout(NEVER, wakes.next()).await.expect("it comes");
        assert_eq!(heard.expect("the link is there"), Wake::Look);
    }
}
