//! The proxy side: from a client's request to its answer, on one worker's thread.
//!
//! A request passes the plugins in their order, each of which may refuse it, and then goes to the
//! upstream or to the built-in echo. Bodies stream in both directions and are never held whole.
//! Nothing here is `Send`: each worker has its own [`Proxy`], its own plugins and its own pool of
//! upstream connections.

// The body of a request: forwarded, or read and discarded.
mod client_body;
// The headers of a message as they are forwarded.
mod forward;
// The socket to the upstream; knows no request.
mod wire;
// Kept-alive connections.
mod pool;
// The body of the upstream's answer; gives its connection back.
mod upstream_body;
// From a request to the upstream's answer.
mod upstream;
// Requests that ask for nothing older than a write.
mod after;
// The built-in upstream.
mod echo;
// A line for each request.
mod access;

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv6Addr},
    panic::AssertUnwindSafe,
    pin::pin,
    rc::Rc,
    sync::Arc,
    time::Instant,
};

use futures_util::FutureExt;
use http::{HeaderName, HeaderValue, Method, header};
use hyper::body::Incoming;
use tracing::{Instrument, Span, field};
use uuid::Uuid;

pub(crate) use self::{
    access::AccessLog,
    after::{After, MOST_WAITING},
};
use self::{
    access::{Answered, Asked},
    client_body::{AwaitsContinue, ClientBody},
    echo::Echo,
    forward::Kinds,
    upstream::Upstream,
};

use crate::{
    counts::WorkerCounts,
    plugin::{DynPlugin, ProxyRequest, Refusal, Response, response},
    server::{ConnectionState, Imprint},
    settings::Settings,
};

const NODE: HeaderName = HeaderName::from_static("x-tidings-node");
const WORKER: HeaderName = HeaderName::from_static("x-tidings-worker");

/// How many headers a request gains at most on its way: six that say who the client is, three
/// X-Forwarded-*.
const ADDED_HEADERS: usize = 9;

/// One worker's proxy: its plugins, and its upstream or echo.
#[derive(Debug)]
pub(crate) struct Proxy {
    node: HeaderValue,
    worker: HeaderValue,
    worker_id: usize,
    counts: Arc<WorkerCounts>,
    access: Option<AccessLog>,
    imprint: Imprint,
    after: Option<After>,
    plugins: Vec<Box<dyn DynPlugin>>,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Echo(Echo),
    Upstream(Upstream),
}

/// The worker that a proxy belongs to, with the counters and the log that it writes to.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) node_id: &'a str,
    pub(crate) worker: usize,
    pub(crate) counts: Arc<WorkerCounts>,
    pub(crate) access: Option<AccessLog>,
    /// `None` without a node; then no request waits.
    pub(crate) after: Option<After>,
}

/// The client at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    ip: IpAddr,
    /// The address as a header carries it, made when it is first needed.
    text: std::cell::OnceCell<HeaderValue>,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr) -> Self {
        Self {
            ip: ip.to_canonical(),
            text: std::cell::OnceCell::new(),
        }
    }

    fn header(&self) -> &HeaderValue {
        self.text
            .get_or_init(|| response::plain_value(&self.ip.to_string()))
    }
}

impl Proxy {
    pub(crate) fn new(
        place: Place<'_>,
        plugins: Vec<Box<dyn DynPlugin>>,
        settings: &Settings,
    ) -> Self {
        let Place {
            node_id,
            worker,
            counts,
            access,
            after,
        } = place;
        let lines = format!("{NODE}: {node_id}\r\n{WORKER}: {worker}\r\n");
        let target = match &settings.upstream {
            Some(address) => {
                let counts = Arc::clone(&counts);
                Target::Upstream(Upstream::new(address.clone(), &settings.limits, counts))
            }
            None => Target::Echo(Echo::new(node_id, worker)),
        };

        Self {
            node: response::plain_value(node_id),
            worker: HeaderValue::from(worker),
            worker_id: worker,
            counts,
            access,
            imprint: Imprint {
                lines: lines.into(),
                body: |_, message| response::message(message),
            },
            after,
            plugins,
            target,
        }
    }

    /// Returns the headers and the form that hyper's own refusals get.
    pub(crate) fn imprint(&self) -> Imprint {
        self.imprint.clone()
    }

    /// Closes upstream connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        if let Target::Upstream(upstream) = &self.target {
            upstream.sweep();
        }
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future, as happens when the client goes away, aborts the request to the
    /// upstream.
    pub(crate) async fn handle(
        self: Rc<Self>,
        peer: Rc<Peer>,
        state: Arc<ConnectionState>,
        request: hyper::Request<Incoming>,
    ) -> Result<Response, Infallible> {
        let began = Instant::now();
        let answering = state.answering();
        let (head, body) = request.into_parts();
        let asked = self.access.as_ref().map(|_| Asked::of(&head));
        let span = span(&head, &peer);
        let request = ProxyRequest::new(head, peer.ip);
        let body = ClientBody::new(body, state, Arc::clone(&self.counts));

        let mut consumer = None;
        let answer = {
            // A plugin may be someone else's and panic; that is this request's end and no other's.
            let answer = AssertUnwindSafe(self.answer(request, body, &peer, &mut consumer));
            let answer = pin!(answer.catch_unwind());
            if span.is_disabled() {
                answer.await
            } else {
                answer.instrument(span.clone()).await
            }
        };
        let mut response = answer.unwrap_or_else(|_panic| {
            tracing::error!("a request's handling panicked");
            Refusal::Panicked.answer()
        });

        let headers = response.headers_mut();
        headers.insert(NODE, self.node.clone());
        headers.insert(WORKER, self.worker.clone());

        let answered = Answered {
            peer: peer.ip,
            worker: self.worker_id,
            status: response.status(),
            refusal: response.extensions().get().copied(),
            consumer,
            took: began.elapsed(),
        };
        self.note(&span, asked.as_ref(), &answered);

        if let Some(whole) = response.body().whole_length() {
            self.counts.body_goes(whole);
        }

        // The request stays open while the body of its answer is being sent.
        response.body_mut().hold(answering);
        Ok(response)
    }

    /// Counts an answer, and writes it to its span and the access log if these are on.
    fn note(&self, span: &Span, asked: Option<&Asked>, answered: &Answered) {
        let status = answered.status;
        self.counts
            .answered(status, answered.refusal, answered.took);

        if !span.is_disabled() {
            span.record("http.response.status_code", status.as_u16());
            if let Some(refusal) = answered.refusal {
                span.record("error.type", refusal.label());
            }
            let micros = u64::try_from(answered.took.as_micros()).unwrap_or(u64::MAX);
            tracing::debug!(parent: span, micros, "answered");
        }

        if let (Some(access), Some(asked)) = (&self.access, asked) {
            access.write(asked, answered);
        }
    }

    async fn answer(
        &self,
        mut request: ProxyRequest,
        body: ClientBody,
        peer: &Peer,
        consumer: &mut Option<Uuid>,
    ) -> Response {
        let awaits = if body.is_empty() {
            AwaitsContinue::No
        } else {
            AwaitsContinue::of(request.headers())
        };
        let admitted = self.admit(&mut request, body.connection()).await;

        *consumer = request.consumer().map(|consumer| consumer.id);
        if let Err(mut refusal) = admitted {
            body.refused(awaits, &mut refusal);
            return refusal;
        }

        match &self.target {
            Target::Echo(echo) => {
                forward::add_forwarded(request.head_mut(), peer);
                let answer = echo.answer(request.head());
                match body.discard(u64::MAX).await {
                    Ok(()) => answer,
                    Err(_) => Refusal::BodyUnreadable.answer(),
                }
            }
            // Boxed: it would be the largest part of a request's future, which is moved a few
            // times.
            Target::Upstream(upstream) => Box::pin(upstream.forward(request, body, peer)).await,
        }
    }

    async fn admit(
        &self,
        request: &mut ProxyRequest,
        connection: &ConnectionState,
    ) -> Result<(), Response> {
        let kinds = Kinds::of(request.headers());
        well_formed(request.head(), kinds)?;
        if kinds.forged
            && let Some(after) = &self.after
        {
            after.wait(request.headers_mut(), connection).await?;
        }

        // Before the plugins set headers, or `Connection: x-consumer-id` would take them away
        // again.
        if kinds.hop_by_hop {
            forward::drop_hop_by_hop(request.headers_mut());
        }

        if kinds.forged
            && let Some(claims) = forward::drop_forged(request.headers_mut())
        {
            request.keep_claims(claims);
        }

        // Otherwise the map would grow twice, once in the plugins and once for X-Forwarded-*.
        request.headers_mut().reserve(ADDED_HEADERS);

        for plugin in &self.plugins {
            if plugin.is_active() {
                plugin.access(request).await?;
            }
        }
        Ok(())
    }
}

/// Makes the span of a request, with the fields of OpenTelemetry's HTTP conventions. The query is
/// left out, since it may carry a key.
fn span(head: &http::request::Parts, peer: &Peer) -> Span {
    tracing::debug_span!(
        "request",
        http.request.method = head.method.as_str(),
        url.path = head.uri.path(),
        url.scheme = "http",
        network.protocol.version = access::version(head.version),
        client.address = %peer.ip,
        trace_id = access::trace_id(&head.headers),
        http.response.status_code = field::Empty,
        error.type = field::Empty,
    )
}

/// Returns whether a `Host` header names a host and perhaps a port; it may be empty. What does not
/// would reach the upstream, which may read it another way.
fn is_host(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else {
        return false;
    };
    let (is_name, port) = match text.strip_prefix('[') {
        Some(text) => match text.split_once(']') {
            Some((address, port)) => (address.parse::<Ipv6Addr>().is_ok(), port),
            None => return false,
        },
        None => {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            (!name.is_empty() && name.bytes().all(is_of_name), port)
        }
    };
    let is_port = match port.strip_prefix(':') {
        Some(port) => port.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    text.is_empty() || (is_name && is_port)
}

/// Returns whether a byte may be in a host's name, by RFC 3986.
fn is_of_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(&byte)
}

/// Refuses requests that hyper accepts but that no proxy may forward.
#[expect(
    clippy::result_large_err,
    reason = "a refusal is the answer itself, moved once; boxing it would cost an allocation"
)]
fn well_formed(head: &http::request::Parts, kinds: Kinds) -> Result<(), Response> {
    if head.method == Method::CONNECT {
        return Err(Refusal::Connect.answer());
    }

    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (first, second) = (hosts.next(), hosts.next());
    let is_valid = match first {
        Some(host) => second.is_none() && is_host(host),
        None => head.version != http::Version::HTTP_11,
    };
    if !is_valid {
        return Err(Refusal::Hosts.answer());
    }

    if !kinds.hop_by_hop {
        return Ok(());
    }

    // hyper undoes "chunked". The upstream would not learn that a body has another coding.
    if forward::is_coded(&head.headers) {
        return Err(Refusal::Coding.answer());
    }

    let upgrade = head.headers.get(header::UPGRADE);
    if upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket")) {
        return Err(Refusal::WebSocket.answer());
    }
    Ok(())
}
