//! [`Upstream`]: passes requests on and streams the answers back.
//!
//! The upstream may close a kept-alive connection just as a request takes it. Such a request is
//! sent at most once more, on a fresh connection, and only in two cases: nothing of it was written;
//! or no byte of an answer came, its method is idempotent (RFC 9110, 9.2.2), and it has no body,
//! which would be gone.

#![expect(
    clippy::disallowed_methods,
    reason = "these are time limits of sockets, which no clock of ours can hurry; tests set them short"
)]

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Duration};

use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header, request::Parts};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use tidings::core::Chain;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};

use super::{
    Peer,
    client_body::{ClientBody, Progress},
    forward,
    pool::{Connection, Pool},
    upstream_body::UpstreamBody,
    wire::Wire,
};
use crate::{
    counts::WorkerCounts,
    plugin::{ProxyBody, ProxyRequest, Refusal, Response, response},
    settings::{Limits, UpstreamAddress},
};

/// The server that requests are forwarded to, with this worker's connections to it.
#[derive(Debug)]
pub(super) struct Upstream {
    address: UpstreamAddress,
    host: HeaderValue,
    pool: Pool,
    connect_timeout: Duration,
    answer_timeout: Duration,
    counts: Arc<WorkerCounts>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("no connection")]
    Connect(#[source] io::Error),
    #[error("no connection in time")]
    ConnectTimeout,
    #[error("no answer in time")]
    AnswerTimeout,
    #[error("the connection broke")]
    Broken(#[source] hyper::Error),
    #[error("the answer is not HTTP")]
    Unreadable(#[source] hyper::Error),
    #[error("the head of the answer is too large")]
    HeadTooLarge,
    #[error("the answer has a transfer coding other than chunked")]
    Coding,
    #[error("it switched protocols unasked")]
    Switched,
    #[error("the client's body broke off")]
    ClientBody(#[source] hyper::Error),
}

/// How an attempt ended without an answer, by whether it may be repeated.
#[derive(Debug)]
enum Ended {
    /// Nothing of the request was written, so it can be sent again.
    Unsent(Box<Request<ClientBody>>, Failure),
    /// The request may have been executed, and no byte of an answer came.
    Unheard(Failure),
    /// There is nothing to repeat.
    Failed(Failure),
}

impl Failure {
    fn of(error: hyper::Error) -> Self {
        if error.is_parse_too_large() {
            Self::HeadTooLarge
        } else if error.is_parse() {
            Self::Unreadable(error)
        } else {
            Self::Broken(error)
        }
    }

    const fn refusal(&self) -> Refusal {
        match self {
            Self::Connect(_) => Refusal::UpstreamUnreachable,
            Self::ConnectTimeout | Self::AnswerTimeout => Refusal::UpstreamSilent,
            Self::Broken(_) => Refusal::UpstreamBroken,
            Self::Unreadable(_) => Refusal::UpstreamUnreadable,
            Self::HeadTooLarge => Refusal::UpstreamHeadTooLarge,
            Self::Coding => Refusal::UpstreamCoding,
            Self::Switched => Refusal::UpstreamSwitched,
            Self::ClientBody(_) => Refusal::BodyUnreadable,
        }
    }
}

impl Ended {
    fn failure(self) -> Failure {
        match self {
            Self::Unsent(_, failure) | Self::Unheard(failure) | Self::Failed(failure) => failure,
        }
    }
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Upstream {
    pub(super) fn new(
        address: UpstreamAddress,
        limits: &Limits,
        counts: Arc<WorkerCounts>,
    ) -> Self {
        Self {
            host: response::plain_value(&address.authority),
            address,
            pool: Pool::default(),
            connect_timeout: limits.connect_timeout,
            answer_timeout: limits.upstream_timeout,
            counts,
        }
    }

    pub(super) fn sweep(&self) {
        self.pool.sweep();
    }

    /// Passes a request on, its hop-by-hop headers already dropped.
    pub(super) async fn forward(
        &self,
        request: ProxyRequest,
        body: ClientBody,
        peer: &Peer,
    ) -> Response {
        let mut head = request.into_head();
        self.address_to_upstream(&mut head, peer);
        forward::set_framing(&mut head.headers, &body);

        match self.exchange(Request::from_parts(head, body)).await {
            Ok(response) => response,
            Err(failure) => {
                if matches!(failure, Failure::ClientBody(_)) {
                    tracing::debug!(error = %Chain(&failure), "a request's body broke off");
                } else {
                    let upstream = &self.address.authority;
                    tracing::warn!(upstream, error = %Chain(&failure), "no answer from the upstream");
                }
                failure.refusal().answer()
            }
        }
    }

    fn address_to_upstream(&self, head: &mut Parts, peer: &Peer) {
        forward::add_forwarded(head, peer);
        head.headers.insert(header::HOST, self.host.clone());
        // hyper has answered or will answer it; the upstream's own "continue" would come too late.
        head.headers.remove(header::EXPECT);

        if head.uri.authority().is_some() {
            head.uri = head
                .uri
                .path_and_query()
                .map_or_else(Uri::default, |target| target.clone().into());
        }
        head.version = Version::HTTP_11;
    }

    /// Sends a request over a kept connection or a fresh one, and once more where that is safe.
    async fn exchange(&self, request: Request<ClientBody>) -> Result<Response, Failure> {
        let Some(kept) = self.pool.take() else {
            let fresh = self.connect().await?;
            return self.attempt(fresh, request).await.map_err(Ended::failure);
        };

        let copy = is_repeatable(&request).then(|| copy(&request));
        let again = match self.attempt(kept, request).await {
            Ok(response) => return Ok(response),
            Err(Ended::Unsent(unsent, _)) => *unsent,
            Err(Ended::Unheard(failure)) => copy.ok_or(failure)?,
            Err(Ended::Failed(failure)) => return Err(failure),
        };

        // Fresh, because other kept connections may have been closed by the same restart or the
        // same timeout; and once, because each attempt may have been executed.
        self.counts.repeated_to_upstream();
        let fresh = self.connect().await?;
        self.attempt(fresh, again).await.map_err(Ended::failure)
    }

    /// Sends a request over one connection. An error says whether the request may be repeated.
    async fn attempt(
        &self,
        mut connection: Connection,
        request: Request<ClientBody>,
    ) -> Result<Response, Ended> {
        self.counts.sent_to_upstream();
        let began = Instant::now();
        let progress = request.body().progress();
        let heard_before = connection.heard.bytes();
        let sent = connection.sender.try_send_request(request);
        let answer = self.answered(sent, &progress).await?;

        let response = match answer {
            Ok(response) => response,
            Err(mut failed) => {
                let unsent = failed.take_message();
                let error = failed.into_error();
                return Err(match unsent {
                    Some(unsent) => Ended::Unsent(Box::new(unsent), Failure::of(error)),
                    None if progress.is_broken() => Failure::ClientBody(error).into(),
                    None if connection.heard.bytes() == heard_before => {
                        Ended::Unheard(Failure::of(error))
                    }
                    None => Failure::of(error).into(),
                });
            }
        };

        self.counts.upstream_answered(began.elapsed());

        // Requests to switch protocols are never forwarded, so no one has asked for this answer.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Failure::Switched.into());
        }
        if forward::is_coded(response.headers()) {
            return Err(Failure::Coding.into());
        }

        // An answer that came before the request was sent leaves the rest of it on the wire.
        let reusable = progress.is_sent().then_some(connection);
        Ok(self.passed_back(response, reusable))
    }

    /// Waits for the head of the answer. The time that the client takes to send its body does not
    /// count.
    async fn answered<F: Future>(
        &self,
        sent: F,
        progress: &Progress,
    ) -> Result<F::Output, Failure> {
        let mut sent = pin!(sent);
        let mut late = pin!(sleep(self.answer_timeout));
        let mut frames = progress.frames();

        poll_fn(|cx| {
            if let Poll::Ready(answer) = sent.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }

            while late.as_mut().poll(cx).is_ready() {
                // While the body moves or the client pauses (which has a limit of its own), the
                // upstream cannot be blamed for its silence.
                if progress.frames() == frames && !progress.waits_for_client() {
                    return Poll::Ready(Err(Failure::AnswerTimeout));
                }
                frames = progress.frames();
                late.as_mut().reset(Instant::now() + self.answer_timeout);
            }

            Poll::Pending
        })
        .await
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let connect = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = timeout(self.connect_timeout, connect)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        self.counts.connected_to_upstream();
        stream.set_nodelay(true).map_err(Failure::Connect)?;

        let (wire, heard) = Wire::new(stream);
        let (sender, connection) = http1::handshake(TokioIo::new(wire))
            .await
            .map_err(Failure::Broken)?;

        // Ends when its sender is dropped or the upstream closes it; it owns nothing else.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error = %Chain(&error), "upstream connection ended");
            }
        });
        Ok(Connection { sender, heard })
    }

    fn passed_back(
        &self,
        response: http::Response<Incoming>,
        reusable: Option<Connection>,
    ) -> Response {
        let (mut head, incoming) = response.into_parts();
        forward::drop_framing(&mut head.headers);
        forward::drop_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;

        let lease = reusable.map(|connection| (self.pool.clone(), connection));
        let body = UpstreamBody {
            incoming,
            lease,
            ended: false,
            counts: Arc::clone(&self.counts),
            patience: self.answer_timeout,
            late: None,
        };
        http::Response::from_parts(head, ProxyBody::streamed(body))
    }
}

/// Returns whether a request may be sent twice: its method is idempotent, and it has no body, which
/// the first attempt would have used up.
fn is_repeatable(request: &Request<ClientBody>) -> bool {
    let idempotent = matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE | Method::PUT | Method::DELETE
    );
    idempotent && request.body().is_empty()
}

fn copy(request: &Request<ClientBody>) -> Request<ClientBody> {
    let mut copy = Request::new(request.body().emptied());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    copy
}
