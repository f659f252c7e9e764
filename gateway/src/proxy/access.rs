//! [`AccessLog`]: one line for each request, as text or JSON. Never with a query, which may carry a
//! key.

use std::{net::IpAddr, time::Duration};

use http::{HeaderMap, Method, StatusCode, Version, request::Parts};
use tracing_subscriber::fmt::{format::Writer, time::FormatTime, time::SystemTime};
use uuid::Uuid;

use crate::{
    log::Sink,
    plugin::{Refusal, json},
    settings::AccessLog as Form,
};

/// Writes a line for each request.
#[derive(Debug)]
pub(crate) struct AccessLog {
    form: Form,
    sink: Sink,
}

/// The part of an access line that is known before the request is answered.
#[derive(Debug)]
pub(super) struct Asked {
    method: Method,
    path: String,
    version: Version,
    trace: Option<String>,
}

/// The part that is known once it is answered.
#[derive(Debug)]
pub(super) struct Answered {
    pub(super) peer: IpAddr,
    pub(super) worker: usize,
    pub(super) status: StatusCode,
    pub(super) refusal: Option<Refusal>,
    pub(super) consumer: Option<Uuid>,
    pub(super) took: Duration,
}

impl Asked {
    pub(super) fn of(head: &Parts) -> Self {
        Self {
            method: head.method.clone(),
            path: head.uri.path().to_owned(),
            version: head.version,
            trace: trace_id(&head.headers).map(str::to_owned),
        }
    }
}

/// Returns the trace id of a `traceparent` header (W3C Trace Context); `None` if it is not one.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<&str> {
    let parent = headers.get("traceparent")?.to_str().ok()?;
    let id = parent.split('-').nth(1)?;
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

impl AccessLog {
    /// Makes the log of a worker; `None` if access lines are off.
    pub(crate) fn new(form: Form, sink: Sink) -> Option<Self> {
        match form {
            Form::Off => None,
            Form::Text | Form::Json => Some(Self { form, sink }),
        }
    }

    pub(super) fn write(&self, asked: &Asked, answered: &Answered) {
        let line = match self.form {
            Form::Off => return,
            Form::Text => text(asked, answered),
            Form::Json => object(asked, answered),
        };
        self.sink.send(line);
    }
}

/// Writes a line as JSON, its fields named as in OpenTelemetry's HTTP conventions where these have
/// a name.
fn object(asked: &Asked, answered: &Answered) -> Vec<u8> {
    let mut line = serde_json::json!({
        "timestamp": now(),
        "client.address": answered.peer.to_string(),
        "http.request.method": asked.method.as_str(),
        "url.path": asked.path,
        "network.protocol.version": version(asked.version),
        "http.response.status_code": answered.status.as_u16(),
        "http.server.request.duration": answered.took.as_secs_f64(),
        "tidings.worker": answered.worker,
    });

    if let Some(refusal) = answered.refusal {
        line["error.type"] = refusal.label().into();
    }

    if let Some(consumer) = answered.consumer {
        line["tidings.consumer.id"] = consumer.to_string().into();
    }
    if let Some(trace) = &asked.trace {
        line["trace_id"] = trace.as_str().into();
    }

    let mut line = line.to_string().into_bytes();
    line.push(b'\n');
    line
}

/// Writes a line as text: fields in a fixed order, `-` for an absent one.
fn text(asked: &Asked, answered: &Answered) -> Vec<u8> {
    let mut line = format!("{} {} \"{} ", now(), answered.peer, asked.method).into_bytes();
    json::escaped(&mut line, asked.path.as_bytes());

    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let rest = format!(
        " HTTP/{}\" {} {:.6} worker={} consumer={} error={} trace={}\n",
        version(asked.version),
        answered.status.as_u16(),
        answered.took.as_secs_f64(),
        answered.worker,
        or_dash(answered.consumer.map(|id| id.to_string())),
        answered.refusal.map_or("-", Refusal::label),
        asked.trace.as_deref().unwrap_or("-"),
    );
    line.extend_from_slice(rest.as_bytes());

    line
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    }
}

/// Returns the time in the format of the other log lines.
fn now() -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = SystemTime.format_time(&mut Writer::new(&mut text));
    text
}
