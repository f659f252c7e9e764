//! A client, or an upstream's end of a connection, that writes exactly the bytes of a test.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

pub(super) struct Raw {
    stream: BufReader<TcpStream>,
}

/// The head of a message, and its body if its length is announced.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) head: String,
    pub(super) body: String,
}

impl Raw {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the listener is there");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(super) async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("a connection comes");
        Self {
            stream: BufReader::new(stream),
        }
    }

    pub(super) async fn send(&mut self, text: &str) {
        self.stream
            .write_all(text.as_bytes())
            .await
            .expect("the other end reads");
    }

    /// Sends bytes that the other end may refuse to read.
    pub(super) async fn try_send(&mut self, text: &str) {
        let _ = self.stream.write_all(text.as_bytes()).await;
    }

    pub(super) async fn get(&mut self, path: &str) -> Message {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n"))
            .await;
        self.message().await
    }

    /// Reads up to the empty line, without it.
    pub(super) async fn head(&mut self) -> String {
        let mut head = String::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).await.expect("text comes");
            assert!(read > 0, "the connection ended in a head: {head:?}");
            if line == "\r\n" {
                return head.to_ascii_lowercase();
            }
            head.push_str(&line);
        }
    }

    /// Reads up to the empty line; `None` if the other end has closed.
    pub(super) async fn try_head(&mut self) -> Option<String> {
        let open = self
            .stream
            .fill_buf()
            .await
            .is_ok_and(|buf| !buf.is_empty());
        if open { Some(self.head().await) } else { None }
    }

    pub(super) async fn message(&mut self) -> Message {
        let head = self.head().await;
        let length =
            field(&head, "content-length").map_or(0, |length| length.parse().expect("a length"));
        Message {
            head,
            body: self.text(length).await,
        }
    }

    pub(super) async fn text(&mut self, length: usize) -> String {
        let mut body = vec![0; length];
        self.stream
            .read_exact(&mut body)
            .await
            .expect("the body comes");
        String::from_utf8(body).expect("the body is text")
    }

    /// Reads one chunk of a chunked body.
    pub(super) async fn chunk(&mut self) -> String {
        let mut size = String::new();
        self.stream
            .read_line(&mut size)
            .await
            .expect("a chunk's size comes");
        let size = usize::from_str_radix(size.trim(), 16).expect("a chunk's size is a number");
        let chunk = self.text(size).await;
        assert_eq!(self.text(2).await, "\r\n");
        chunk
    }

    /// Says that nothing more will be sent.
    pub(super) async fn close_sending(&mut self) {
        self.stream.shutdown().await.expect("the socket is open");
    }

    /// Reads until the other end closes or resets the connection.
    pub(super) async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset ends a connection too; what came before it is kept.
        let _ = self.stream.read_to_end(&mut rest).await;
        String::from_utf8_lossy(&rest).into_owned()
    }
}

impl Message {
    pub(super) fn status(&self) -> &str {
        self.head.split(' ').nth(1).expect("a status line")
    }

    pub(super) fn field(&self, name: &str) -> Option<&str> {
        field(&self.head, name)
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    pub(super) fn assert_branded(&self) {
        assert_eq!(
            self.field("x-tidings-node"),
            Some("node-1"),
            "{}",
            self.head
        );
        assert_eq!(self.field("x-tidings-worker"), Some("0"), "{}", self.head);
    }
}

pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}
