//! [`Caller`]: sends requests to the admin side of a node, each with a deadline.

use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    body::Incoming,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value as Json;
use tidings::core::Chain;
use tokio::{net::TcpStream, time::timeout};

use super::{
    ended::Failure,
    sse::{Event, Parser},
};
use crate::settings::Client;

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take if the request does not ask to wait.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a stream may be silent. The node sends a heartbeat every 15 s.
const SILENCE: Duration = Duration::from_secs(60);
/// The maximum size of an answer, in bytes.
const MOST: usize = 64 << 20;
/// The characters that are escaped in a segment of a path and in a value of a query.
const PART: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Sends requests to the admin side of one node.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    node: Client,
}

/// A stream of events from a node.
#[derive(Debug)]
pub(super) struct Following {
    caller: Caller,
    body: Incoming,
    parser: Parser,
    events: VecDeque<Event>,
    last: Option<String>,
}

/// An answer of a node.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// `null` if there is no body.
    pub(super) body: Json,
}

impl Caller {
    pub(super) fn new(node: Client) -> Self {
        Self { node }
    }

    /// Gets the resource at a path; a refusal is a failure.
    pub(super) async fn get(&self, path: &str) -> Result<Answer, Failure> {
        let answer = self.ask(Method::GET, path, None, Duration::ZERO).await?;
        answer.successful()
    }

    /// Sends a request. Its answer may take `longer` beyond the usual time. A refused request is an
    /// answer; a refused token is a failure.
    pub(super) async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        longer: Duration,
    ) -> Result<Answer, Failure> {
        let body = body.map(Json::to_string);
        let mut sender = self.connect().await?;
        let request = self.request(method, path, body)?;
        let answering = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(|error| self.broke(Chain(&error)))?;
            self.read(response).await
        };
        let answered = timeout(ANSWER + longer, answering).await;
        answered.map_err(|_| self.silent(ANSWER + longer))?
    }

    /// Opens a stream of events, which starts after a position if one is given.
    pub(super) async fn follow(
        &self,
        path: &str,
        since: Option<&str>,
    ) -> Result<Following, Failure> {
        let mut sender = self.connect().await?;
        let mut request = self.request(Method::GET, path, None)?;
        if let Some(since) = since {
            let since = HeaderValue::from_str(since);
            let since = since.map_err(|_| Failure::wrong_use("--since is not a position"))?;
            request.headers_mut().insert("last-event-id", since);
        }

        let response = timeout(ANSWER, sender.send_request(request)).await;
        let response = response.map_err(|_| self.silent(ANSWER))?;
        let response = response.map_err(|error| self.broke(Chain(&error)))?;

        let kind = response.headers().get(header::CONTENT_TYPE);
        let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
        if !is_stream {
            let answer = self.read(response).await?;
            let is_bad_place = since.is_some() && answer.status == StatusCode::BAD_REQUEST;
            let refused = answer.successful().err();
            return Err(match refused {
                Some(refused) if is_bad_place => Failure::wrong_use(format!(
                    "--since is not the position of a change or a write: {refused}"
                )),
                Some(refused) => refused,
                None => self.not_admin_side(),
            });
        }

        Ok(Following {
            caller: self.clone(),
            body: response.into_body(),
            parser: Parser::default(),
            events: VecDeque::new(),
            last: since.map(str::to_owned),
        })
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Failure> {
        let server = &self.node.admin.server;
        let connected = TcpStream::connect((server.host.as_str(), server.port));
        let stream = match timeout(CONNECT, connected).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.unreachable(error)),
            Err(_) => return Err(self.unreachable(format!("no connection within {CONNECT:?}"))),
        };
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(Chain(&error)))?;

        // Its errors reach the request anyway.
        tokio::spawn(async move { drop(connection.await) });
        Ok(sender)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
    ) -> Result<Request<Full<Bytes>>, Failure> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.node.admin.server.authority)
            .header(
                header::USER_AGENT,
                concat!("tidings/", env!("CARGO_PKG_VERSION")),
            );
        if let Some(token) = &self.node.token {
            let value = format!("Bearer {}", token.expose());
            request = request.header(header::AUTHORIZATION, value);
        }

        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = Full::from(body.unwrap_or_default());
        let request = request.body(body);
        request.map_err(|error| Failure::wrong_use(error.to_string()))
    }

    /// Reads an answer to its end. Fails if the answer is not that of an admin side, or if the
    /// token is refused.
    async fn read(&self, response: http::Response<Incoming>) -> Result<Answer, Failure> {
        let (parts, body) = response.into_parts();
        if parts.headers.contains_key("x-tidings-worker") {
            let admin = &self.node.admin;
            return Err(Failure::wrong_use(format!(
                "{admin} is the proxy side of a node; --admin takes its admin side"
            )));
        }

        let body = Limited::new(body, MOST).collect().await;
        let body = body.map_err(|error| self.broke(error))?.to_bytes();
        let body = match body.is_empty() {
            true => Json::Null,
            false => serde_json::from_slice(&body).map_err(|_| self.not_admin_side())?,
        };
        let answer = Answer {
            status: parts.status,
            headers: parts.headers,
            body,
        };

        match answer.status {
            StatusCode::UNAUTHORIZED if self.node.token.is_none() => {
                Err(Failure::wrong_use(format!(
                    "{} requires a token: --admin-token, TIDINGS_ADMIN_TOKEN or TIDINGS_ADMIN_TOKEN_FILE",
                    self.node.admin
                )))
            }
            StatusCode::UNAUTHORIZED => Err(Failure::wrong_use(format!(
                "{} does not accept the token",
                self.node.admin
            ))),
            status if status.is_redirection() => Err(self.not_admin_side()),
            _ => Ok(answer),
        }
    }

    /// Returns the path of a resource, from parts that may hold any character.
    pub(super) fn path(&self, parts: &[&str]) -> String {
        let mut path = self.node.admin.prefix.clone();
        for part in parts {
            path.push('/');
            path.extend(utf8_percent_encode(part, PART));
        }
        path
    }

    /// Returns the path of the page after this one, whose own path is `asked`; `None` after the
    /// last page.
    pub(super) fn next(&self, page: &Json, asked: &str) -> Result<Option<String>, Failure> {
        let Some(next) = page["next"].as_str() else {
            return Ok(None);
        };
        let next = format!("{}{next}", self.node.admin.prefix);
        // A node never links elsewhere or back to the same page.
        let leads_on = next.starts_with('/') && next != asked;
        leads_on
            .then_some(Some(next))
            .ok_or_else(|| self.not_admin_side())
    }

    fn unreachable(&self, why: impl std::fmt::Display) -> Failure {
        let admin = &self.node.admin;
        Failure::unreachable(format!(
            "cannot reach {admin}: {why} (--admin URL names the admin side of a node)"
        ))
    }

    fn broke(&self, why: impl std::fmt::Display) -> Failure {
        Failure::unreachable(format!("{} did not answer: {why}", self.node.admin))
    }

    fn silent(&self, patience: Duration) -> Failure {
        self.broke(format!("nothing came within {patience:?}"))
    }

    fn not_admin_side(&self) -> Failure {
        Failure::wrong_use(format!(
            "{} is not the admin side of a node: its answer is not JSON",
            self.node.admin
        ))
    }
}

impl Answer {
    /// Turns a refusal into a failure.
    pub(super) fn successful(self) -> Result<Self, Failure> {
        if self.status.is_success() {
            return Ok(self);
        }

        let message = self.body["message"].as_str();
        let message = message.map_or_else(|| self.status.to_string(), str::to_owned);
        Err(match self.status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Failure::refused(message),
            StatusCode::REQUEST_TIMEOUT => Failure::unreachable(message),
            status if status.is_client_error() => Failure::wrong_use(message),
            _ => Failure::unreachable(message),
        })
    }

    /// Returns a header's text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl Following {
    /// Waits for the next event.
    pub(super) async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            if let Some(event) = self.events.pop_front() {
                self.last.clone_from(&event.id);
                return Ok(event);
            }

            let frame = timeout(SILENCE, self.body.frame()).await;
            let frame = frame.map_err(|_| self.over(format!("silent for {SILENCE:?}")))?;
            let frame = frame.ok_or_else(|| self.over("the node has ended the stream"))?;
            let frame = frame.map_err(|error| self.over(Chain(&error)))?;

            if let Ok(bytes) = frame.into_data() {
                let events = self.parser.push(&bytes);
                self.events
                    .extend(events.map_err(|error| self.over(error))?);
            }
        }
    }

    /// Makes the failure of a stream that has ended. It must not look like a quiet one.
    fn over(&self, why: impl std::fmt::Display) -> Failure {
        let admin = &self.caller.node.admin;
        Failure::unreachable(match &self.last {
            Some(last) => format!("{admin}: {why}; --since {last} resumes there"),
            None => format!("{admin}: {why}"),
        })
    }
}

/// Returns a value, percent-encoded for a query.
pub(super) fn encoded(value: &str) -> String {
    utf8_percent_encode(value, PART).to_string()
}
