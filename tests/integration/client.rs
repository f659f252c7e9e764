//! An HTTP client whose connections are values, so that a test knows which worker each one belongs
//! to.

use std::net::SocketAddr;

use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Client {
    address: SocketAddr,
    sender: http1::SendRequest<Full<Bytes>>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address)
            .await
            .expect("the server listens");
        stream
            .set_nodelay(true)
            .expect("loopback takes socket options");
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("a fresh connection takes requests");
        tokio::spawn(connection);
        Self { address, sender }
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], None).await
    }

    pub(crate) async fn delete(&mut self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], None).await
    }

    pub(crate) async fn post(&mut self, path: &str, body: Json) -> Answer {
        self.json(Method::POST, path, body).await
    }

    pub(crate) async fn put(&mut self, path: &str, body: Json) -> Answer {
        self.json(Method::PUT, path, body).await
    }

    pub(crate) async fn patch(&mut self, path: &str, body: Json) -> Answer {
        self.json(Method::PATCH, path, body).await
    }

    pub(crate) async fn json(&mut self, method: Method, path: &str, body: Json) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(method, path, &headers, Some(body.to_string()))
            .await
    }

    /// Asks the proxy side with a key.
    pub(crate) async fn with_key(&mut self, key: &str) -> Answer {
        self.send(Method::GET, "/", &[("apikey", key)], None).await
    }

    pub(crate) async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<String>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::new(Bytes::from(body.unwrap_or_default()));
        let request = request.body(body).expect("tests send well-formed requests");
        if self.sender.ready().await.is_err() {
            *self = Self::connect(self.address).await; // the server closed it, as it may after an error
        }
        let response = self
            .sender
            .send_request(request)
            .await
            .expect("the server answers");
        let (parts, body) = response.into_parts();
        let body = body
            .collect()
            .await
            .expect("the answer is whole")
            .to_bytes();
        Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        }
    }
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}", self.body))
    }

    /// The answer, if its status is as expected.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:?}", self.body);
        self
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn worker(&self) -> usize {
        self.header("x-tidings-worker")
            .parse()
            .expect("every answer names its worker")
    }
}
