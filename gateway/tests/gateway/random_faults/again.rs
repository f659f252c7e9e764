//! A second publisher on the broker: it repeats each message that it receives, once, some time
//! later. So wake-ups are duplicated, late, and out of order.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use tidings::{
    clock::{Clock as _, SystemClock},
    core::entropy::{Entropy as _, SeededEntropy},
};
use tidings_testkit::Protocol;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
};

/// How late it is at most, in milliseconds.
const LATEST: u64 = 1_500;

/// How many messages wait to be repeated; more are left out.
const MOST: usize = 1_024;

/// A subject, and the payload of a message on it.
type Message = (Vec<u8>, Vec<u8>);

/// Listens and repeats until it is aborted, even after the broker was killed.
pub(super) async fn say_again(port: u16, protocol: Protocol, seed: u64) {
    let (clock, chance) = (SystemClock::new(), Arc::new(SeededEntropy::new(seed)));
    loop {
        // The broker is not there, or was killed.
        drop(repeat(port, protocol, &chance).await);
        clock.sleep(Duration::from_millis(100)).await;
    }
}

async fn repeat(port: u16, protocol: Protocol, chance: &Arc<SeededEntropy>) -> io::Result<()> {
    let address = ("127.0.0.1", port);
    let (heard, mut asking) = TcpStream::connect(address).await?.into_split();
    let mut heard = BufReader::new(heard);
    asking.write_all(subscription(protocol)).await?;
    // Redis wants a connection of its own for each direction; NATS does not mind.
    let (mut answers, said) = TcpStream::connect(address).await?.into_split();
    let (again, waiting) = mpsc::channel(MOST);
    let saying = tokio::spawn(publish(protocol, said, waiting));
    let ignoring =
        tokio::spawn(async move { tokio::io::copy(&mut answers, &mut tokio::io::sink()).await });

    let mut own: HashMap<Message, usize> = HashMap::new();
    let done = loop {
        let message = match next(protocol, &mut heard, &mut asking).await {
            Ok(message) => message,
            Err(error) => break Err(error),
        };
        if let Some(count) = own.get_mut(&message).filter(|count| **count > 0) {
            *count -= 1;
            continue;
        }
        own.retain(|_, count| *count > 0);
        if own.len() >= MOST {
            continue;
        }
        *own.entry(message.clone()).or_default() += 1;
        let (again, late) = (again.clone(), Duration::from_millis(chance.below(LATEST)));
        tokio::spawn(async move {
            SystemClock::new().sleep(late).await;
            // The broker may be gone.
            drop(again.send(message).await);
        });
    };
    saying.abort();
    ignoring.abort();
    done
}

fn subscription(protocol: Protocol) -> &'static [u8] {
    match protocol {
        Protocol::Nats => b"CONNECT {\"verbose\":false}\r\nSUB tidings.> 1\r\n",
        Protocol::Redis => b"*2\r\n$10\r\nPSUBSCRIBE\r\n$9\r\ntidings.*\r\n",
    }
}

/// Publishes what it is given until the connection ends.
async fn publish(
    protocol: Protocol,
    mut said: OwnedWriteHalf,
    mut waiting: mpsc::Receiver<Message>,
) -> io::Result<()> {
    if protocol == Protocol::Nats {
        said.write_all(b"CONNECT {\"verbose\":false}\r\n").await?;
    }
    while let Some((subject, payload)) = waiting.recv().await {
        let mut command = Vec::new();
        match protocol {
            Protocol::Nats => {
                command.extend_from_slice(b"PUB ");
                command.extend_from_slice(&subject);
                command.extend_from_slice(format!(" {}\r\n", payload.len()).as_bytes());
                command.extend_from_slice(&payload);
                command.extend_from_slice(b"\r\n");
            }
            Protocol::Redis => {
                command.extend_from_slice(b"*3\r\n");
                for word in [&b"PUBLISH"[..], &subject, &payload] {
                    command.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                    command.extend_from_slice(word);
                    command.extend_from_slice(b"\r\n");
                }
            }
        }
        said.write_all(&command).await?;
    }
    Ok(())
}

/// Reads on to the next message.
async fn next(
    protocol: Protocol,
    heard: &mut BufReader<OwnedReadHalf>,
    asking: &mut OwnedWriteHalf,
) -> io::Result<Message> {
    loop {
        let line = line(heard).await?;
        match protocol {
            Protocol::Nats => match line.split(' ').collect::<Vec<_>>()[..] {
                ["PING"] => asking.write_all(b"PONG\r\n").await?,
                ["MSG", subject, .., length] => {
                    let payload = text(heard, length).await?;
                    return Ok((subject.as_bytes().to_vec(), payload));
                }
                _ => {}
            },
            Protocol::Redis => {
                let length = line.strip_prefix('*').map_or("0", |length| length);
                let mut words = Vec::new();
                for _ in 0..length.parse().map_err(io::Error::other)? {
                    let line = self::line(heard).await?;
                    if let Some(length) = line.strip_prefix('$') {
                        words.push(text(heard, length).await?);
                    }
                }
                if let [kind, _, subject, payload] = &words[..]
                    && kind == b"pmessage"
                {
                    return Ok((subject.clone(), payload.clone()));
                }
            }
        }
    }
}

async fn line(heard: &mut BufReader<OwnedReadHalf>) -> io::Result<String> {
    let mut line = String::new();
    match heard.read_line(&mut line).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

async fn text(heard: &mut BufReader<OwnedReadHalf>, length: &str) -> io::Result<Vec<u8>> {
    let length: usize = length.parse().map_err(io::Error::other)?;
    let mut text = vec![0; length + 2];
    heard.read_exact(&mut text).await?;
    text.truncate(length);
    Ok(text)
}
