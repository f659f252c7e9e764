//! A NATS listener that tests itself after a time without messages.

use std::{sync::Arc, time::Duration};

use futures_util::poll;
use tidings_carriers::Nats;
use tidings_core::{
    clock::ManualClock,
    log::{Wake, WakeCarrier as _},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

const NEVER: Duration = Duration::from_secs(20);
/// Longer than a listener waits before it tests itself.
const QUIET: Duration = Duration::from_secs(16);

const OTHER: &str = "1 ffffffffffffffffffffffffffffffff";

fn message(payload: &str) -> String {
    format!("MSG tidings.shop 1 {}\r\n{payload}\r\n", payload.len())
}

/// A server that passes on published messages: from the third one on, after a message of another
/// sender.
async fn serve(stream: TcpStream) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let info = r#"INFO {"server_id":"a","version":"2.10.0","headers":true,"max_payload":1048576}"#;
    stream.write_all(format!("{info}\r\n").as_bytes()).await?;
    let (mut line, mut published) = (String::new(), 0);
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        let answer = if line.starts_with("PING") {
            "PONG\r\n".to_owned()
        } else if line.starts_with("PUB") {
            let length = line
                .split_whitespace()
                .last()
                .and_then(|it| it.parse().ok());
            let mut payload = vec![0; length.expect("a length")];
            stream.read_exact(&mut payload).await?;
            let own = message(&String::from_utf8(payload).expect("text"));
            published += 1;
            let other = if published < 3 {
                String::new()
            } else {
                message(OTHER)
            };
            other + &own
        } else {
            continue;
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

#[tokio::test]
async fn what_others_say_while_a_listener_tests_itself_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("nats://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });

    let clock = ManualClock::new();
    let carrier = Nats::with_clock(&address, "shop", Arc::new(clock.clone())).expect("an address");
    let listening = timeout(NEVER, carrier.listen()).await.expect("it listens");
    let mut wakes = listening.expect("it listens");
    let connected = timeout(NEVER, wakes.next()).await.expect("it is told");
    assert_eq!(connected.expect("it listens"), Wake::Look);

    let mut next = std::pin::pin!(wakes.next());
    assert!(poll!(&mut next).is_pending(), "no one has said anything");
    clock.advance(QUIET);
    let heard = timeout(NEVER, next).await.expect("it is not swallowed");
    assert_eq!(heard.expect("it listens"), Wake::Look);
}
