//! Bodies that no handler reads, over sockets: the connection goes on, or the answer says that it
//! ends.

use std::net::SocketAddr;

use tidings_admin::AdminOptions;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

use super::node::Admin;

/// A server, and what ends it.
struct Served {
    address: SocketAddr,
    server: JoinHandle<()>,
}

impl Served {
    async fn new(options: AdminOptions) -> Self {
        let admin = Admin::with(options).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = admin
            .router()
            .into_make_service_with_connect_info::<SocketAddr>();
        let server = tokio::spawn(async move {
            let _admin = admin;
            axum::serve(listener, service).await.unwrap();
        });
        Self { address, server }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// One answer: its head, with its body read and dropped.
async fn answer(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.unwrap();
    head
}

/// D7
#[tokio::test]
async fn a_small_body_that_no_one_asked_for_is_read_and_the_connection_goes_on() {
    let served = Served::new(AdminOptions::new()).await;
    let mut stream = served.connect().await;
    for (method, path, status) in [
        ("DELETE", "/shops/a", "204"),
        ("GET", "/nowhere", "404"),
        ("GET", "/shops", "200"),
        ("PUT", "/shops", "405"),
    ] {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n1234567"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let head = answer(&mut stream).await;
        assert!(head.starts_with(&format!("http/1.1 {status} ")), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
    }
}

/// D7
#[tokio::test]
async fn an_answer_before_the_end_of_its_body_announces_that_the_connection_ends() {
    let served = Served::new(AdminOptions::new()).await;
    for path in ["/shops/a", "/nowhere"] {
        let mut stream = served.connect().await;
        let head =
            format!("DELETE {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        let head = answer(&mut stream).await;
        assert!(head.contains("connection: close"), "{path}: {head}");
        // What still comes is read, so that nothing is reset, and then the connection ends.
        stream.write_all(b"1234567").await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
}

/// D7
#[tokio::test]
async fn a_client_that_sends_too_much_reads_the_413() {
    let served = Served::new(AdminOptions::new().body_limit(1024)).await;
    const SIZE: usize = 12 << 20;
    for framing in [
        format!("Content-Length: {SIZE}"),
        "Transfer-Encoding: chunked".to_owned(),
    ] {
        let mut stream = served.connect().await;
        let head = format!(
            "POST /shops HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{framing}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        if framing.starts_with('T') {
            stream
                .write_all(format!("{SIZE:x}\r\n").as_bytes())
                .await
                .unwrap();
        }
        // The whole body before a single byte of the answer is read.
        let chunk = vec![b' '; 1 << 16];
        for _ in 0..SIZE >> 16 {
            stream.write_all(&chunk).await.unwrap();
        }
        let head = answer(&mut stream).await;
        assert!(head.starts_with("http/1.1 413 "), "{head}");
        assert!(head.contains("connection: close"), "{head}");
    }
}

#[tokio::test]
async fn a_body_that_is_withheld_is_not_asked_for_to_be_dropped() {
    let served = Served::new(AdminOptions::new().token("s3cret")).await;
    let mut stream = served.connect().await;
    let head = "POST /shops HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                Expect: 100-continue\r\nContent-Length: 7\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let head = answer(&mut stream).await;
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    assert!(head.contains("connection: close"), "{head}");
}
