//! [`Upstream`]: passes requests on and streams the answers back.
//!
//! A kept-alive connection may have been closed by the upstream just as it was taken. A request that was not
//! written at all is tried again; one that was written and got no byte of an answer only if doing it
//! twice means doing it once (RFC 9110, 9.2.2) and it has no body, which would be gone.

#![expect(
    clippy::disallowed_methods,
    reason = "these are time limits of sockets, which no clock of ours can hurry; tests set them short"
)]

use std::{
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header, request::Parts};
use hyper::{
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpStream,
    time::{Instant, Sleep, sleep, timeout},
};

use super::{
    Peer,
    client_body::ClientBody,
    forward,
    pool::{Pool, Sender},
};
use crate::{
    plugin::{BodyError, ProxyBody, ProxyRequest, Response, refuse, response},
    settings::{Limits, UpstreamAddress},
};

/// Where requests are passed on to.
#[derive(Debug)]
pub(super) struct Upstream {
    address: UpstreamAddress,
    host: HeaderValue,
    pool: Pool,
    connect_timeout: Duration,
    answer_timeout: Duration,
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
    #[error("it switched protocols unasked")]
    Switched,
    #[error("the client's body broke off")]
    ClientBody(#[source] hyper::Error),
}

impl Upstream {
    pub(super) fn new(address: UpstreamAddress, limits: &Limits) -> Self {
        Self {
            host: response::plain_value(&address.authority),
            address,
            pool: Pool::default(),
            connect_timeout: limits.connect_timeout,
            answer_timeout: limits.upstream_timeout,
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
        match self.exchange(Request::from_parts(head, body)).await {
            Ok(response) => response,
            Err(failure) => {
                let cause = std::error::Error::source(&failure).map(ToString::to_string);
                if matches!(failure, Failure::ClientBody(_)) {
                    tracing::debug!(cause, "a request's body broke off");
                } else {
                    tracing::warn!(upstream = %self.address.authority, %failure, cause, "no answer from the upstream");
                }
                match failure {
                    Failure::ClientBody(_) => {
                        refuse(StatusCode::BAD_REQUEST, "The request body cannot be read")
                    }
                    Failure::Switched => refuse(
                        StatusCode::BAD_GATEWAY,
                        "The upstream switched to another protocol unasked",
                    ),
                    Failure::Connect(_) => {
                        refuse(StatusCode::BAD_GATEWAY, "The upstream cannot be reached")
                    }
                    Failure::Broken(_) => refuse(
                        StatusCode::BAD_GATEWAY,
                        "The upstream closed the connection without an answer",
                    ),
                    Failure::ConnectTimeout | Failure::AnswerTimeout => refuse(
                        StatusCode::GATEWAY_TIMEOUT,
                        "The upstream did not answer in time",
                    ),
                }
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

    async fn exchange(&self, mut request: Request<ClientBody>) -> Result<Response, Failure> {
        loop {
            let (mut sender, reused) = match self.pool.take() {
                Some(sender) => (sender, true),
                None => (self.connect().await?, false),
            };
            let again = (reused && is_repeatable(&request)).then(|| copy(&request));
            let progress = request.body().progress();
            let sent = sender.try_send_request(request);
            match self.answered(sent, &progress).await? {
                // No client's wish for another protocol is passed on: the answer fits no request.
                Ok(response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    return Err(Failure::Switched);
                }
                Ok(response) => {
                    return Ok(self.passed_back(response, sender, progress.is_sent()));
                }
                Err(mut failed) => match (reused, failed.take_message(), again) {
                    (true, Some(unsent), _) => request = unsent,
                    (true, None, Some(copy)) => request = copy,
                    _ if progress.is_broken() => {
                        return Err(Failure::ClientBody(failed.into_error()));
                    }
                    _ => return Err(Failure::Broken(failed.into_error())),
                },
            }
        }
    }

    /// Waits for the head of the answer. The time that the client takes to send its body does not count.
    async fn answered<F: Future>(
        &self,
        sent: F,
        progress: &super::client_body::Progress,
    ) -> Result<F::Output, Failure> {
        let mut sent = pin!(sent);
        let mut late = pin!(sleep(self.answer_timeout));
        let mut frames = progress.frames();
        poll_fn(|cx| {
            if let Poll::Ready(answer) = sent.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            while late.as_mut().poll(cx).is_ready() {
                // A body that moves, or a client that pauses (which has a limit of its own), is no silence
                // of the upstream's.
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

    async fn connect(&self) -> Result<Sender, Failure> {
        let connect = TcpStream::connect((self.address.host.as_str(), self.address.port));
        let stream = timeout(self.connect_timeout, connect)
            .await
            .map_err(|_| Failure::ConnectTimeout)?
            .map_err(Failure::Connect)?;
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(Failure::Broken)?;
        // Ends when its sender is dropped or the upstream closes it; it owns nothing else.
        tokio::task::spawn_local(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "upstream connection ended");
            }
        });
        Ok(sender)
    }

    fn passed_back(
        &self,
        response: http::Response<Incoming>,
        sender: Sender,
        sent: bool,
    ) -> Response {
        let (mut head, incoming) = response.into_parts();
        forward::drop_hop_by_hop(&mut head.headers);
        head.version = Version::HTTP_11;
        // An answer that came before the request was sent leaves the rest of it on the wire.
        let lease = sent.then(|| (self.pool.clone(), sender));
        let body = UpstreamBody {
            incoming,
            lease,
            ended: false,
            patience: self.answer_timeout,
            late: None,
        };
        http::Response::from_parts(head, ProxyBody::streamed(body))
    }
}

/// Whether doing it twice means doing it once, and it can be done twice.
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

/// The body of the upstream's answer. Read to its end, it gives the connection back to the pool.
#[derive(Debug)]
struct UpstreamBody {
    incoming: Incoming,
    lease: Option<(Pool, Sender)>,
    ended: bool,
    patience: Duration,
    /// Runs while a part of the answer is awaited.
    late: Option<Pin<Box<Sleep>>>,
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                self.late = None;
                Poll::Ready(Some(frame.map_err(BodyError::new)))
            }
            Poll::Ready(None) => {
                self.ended = true;
                Poll::Ready(None)
            }
            Poll::Pending => {
                let patience = self.patience;
                let late = self.late.get_or_insert_with(|| Box::pin(sleep(patience)));
                late.as_mut().poll(cx).map(|()| {
                    let error =
                        io::Error::new(io::ErrorKind::TimedOut, "no more of the answer in time");
                    Some(Err(BodyError::new(error)))
                })
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // hyper need not ask for the end of a body whose length it knows.
        if (self.ended || self.incoming.is_end_stream())
            && let Some((pool, sender)) = self.lease.take()
        {
            pool.put(sender);
        }
    }
}
