//! Request bodies: their type, their size, the time they take, and the JSON object they mean.

use std::{error::Error as StdError, time::Duration};

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Map, Value as Json};
use tidings::core::Schema;

use super::{decode, form, json};
use crate::problem::{Kind, Problem};

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Form,
    /// No type was named, which only an empty body may do.
    Unnamed,
}

/// Reads a body as the JSON object it means for an entity. No body at all means no fields.
pub(crate) async fn object(
    schema: &Schema,
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Map<String, Json>, Problem> {
    let format = format(headers)?;
    let bytes = read(headers, body, limit, patience).await?;
    let refused = |message: String| Problem::new(Kind::InvalidBody, message);
    match format {
        Format::Json => json::object(&bytes).map_err(refused),
        Format::Form => {
            let pairs = decode::pairs(&bytes)
                .map_err(|error| refused(format!("cannot parse the body as a form: {error}")))?;
            form::object(schema, pairs).map_err(refused)
        }
        Format::Unnamed if bytes.is_empty() => Ok(Map::new()),
        Format::Unnamed => Err(unsupported("a body without a content type")),
    }
}

/// What the headers say of the body, before any of it is read.
fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported("an encoded body"));
    }
    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(content_type), None) = (types.next(), types.next()) else {
        return match headers.contains_key(header::CONTENT_TYPE) {
            true => Err(unsupported("a body of two types")),
            false => Ok(Format::Unnamed),
        };
    };
    named(content_type).ok_or_else(|| {
        let named = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
        unsupported(&format!("a body of type {named:?}"))
    })
}

fn named(content_type: &HeaderValue) -> Option<Format> {
    let mut parts = content_type.to_str().ok()?.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" => Format::Json,
        "application/x-www-form-urlencoded" => Format::Form,
        _ => return None,
    };
    let readable = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = charset.trim().trim_matches('"');
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("us-ascii")
        }
        _ => true,
    });
    readable.then_some(format)
}

fn unsupported(what: &str) -> Problem {
    let message = format!(
        "{what} cannot be read: send application/json or application/x-www-form-urlencoded in UTF-8"
    );
    Problem::new(Kind::UnsupportedMediaType, message)
}

async fn read(
    headers: &HeaderMap,
    body: Body,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || {
        let message = format!("a body may hold at most {limit} bytes");
        Problem::new(Kind::PayloadTooLarge, message)
    };
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if is_limit(error.as_ref()) => Err(too_large()),
        Ok(Err(error)) => {
            Err(Problem::new(Kind::InvalidBody, "the body ended before its end").because(error))
        }
        Err(_) => Err(Problem::new(
            Kind::RequestTimeout,
            "the body took too long to arrive",
        )),
    }
}

/// Whether the limit lies somewhere under an error: axum wraps what its bodies report.
fn is_limit(error: &(dyn StdError + 'static)) -> bool {
    error.is::<LengthLimitError>() || error.source().is_some_and(is_limit)
}

#[cfg(test)]
mod tests {
    use futures_util::stream;
    use tidings::core::Field;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn schema() -> Schema {
        Schema::builder("things")
            .field(Field::of::<i64>("id").primary_key())
            .build()
    }

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    async fn parsed(headers: &HeaderMap, body: impl Into<Body>) -> Result<Json, Kind> {
        object(&schema(), headers, body.into(), 64, PATIENCE)
            .await
            .map(Json::Object)
            .map_err(|problem| problem.kind())
    }

    #[tokio::test]
    async fn json_and_forms_mean_the_same() {
        let expected = Ok(serde_json::json!({ "id": 7 }));
        let types = [
            ("application/json", "{\"id\":7}"),
            ("Application/JSON ; charset=\"UTF-8\"", "{\"id\":7}"),
            ("application/x-www-form-urlencoded", "id=7"),
        ];
        for (content_type, body) in types {
            assert_eq!(parsed(&headers(content_type), body).await, expected);
        }
        assert_eq!(
            parsed(&HeaderMap::new(), "").await,
            Ok(Json::Object(Map::new()))
        );
    }

    /// AD5
    #[tokio::test]
    async fn other_types_are_refused() {
        let types = [
            "text/plain",
            "multipart/form-data; boundary=x",
            "application/json; charset=latin1",
            "application/json-seq",
            "json",
            "",
        ];
        for content_type in types {
            let refused = parsed(&headers(content_type), "{\"id\":7}").await;
            assert_eq!(refused, Err(Kind::UnsupportedMediaType), "{content_type}");
        }
        let untyped = parsed(&HeaderMap::new(), "{\"id\":7}").await;
        assert_eq!(untyped, Err(Kind::UnsupportedMediaType));
        let mut zipped = headers("application/json");
        zipped.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(parsed(&zipped, "{}").await, Err(Kind::UnsupportedMediaType));
        let mut twice = headers("application/json");
        twice.append(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(parsed(&twice, "{}").await, Err(Kind::UnsupportedMediaType));
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_refused_announced_or_not() {
        let json = headers("application/json");
        let at_limit = format!("{{\"id\":7{}}}", " ".repeat(56));
        assert_eq!(at_limit.len(), 64);
        assert!(parsed(&json, at_limit.clone()).await.is_ok());
        let over = format!("{at_limit} ");
        let chunks = stream::iter([Ok::<_, std::io::Error>(over.clone())]);
        let streamed = parsed(&json, Body::from_stream(chunks)).await;
        assert_eq!(streamed, Err(Kind::PayloadTooLarge));
        let mut announced = json.clone();
        announced.insert(header::CONTENT_LENGTH, HeaderValue::from(65));
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let refused = parsed(&announced, Body::from_stream(never)).await;
        assert_eq!(refused, Err(Kind::PayloadTooLarge));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_refused() {
        let broken = std::io::Error::other("connection reset");
        let chunks = stream::iter([Ok("{\"id\":"), Err(broken)]);
        let refused = parsed(&headers("application/json"), Body::from_stream(chunks)).await;
        assert_eq!(refused, Err(Kind::InvalidBody));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_ends_is_given_up() {
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let refused = parsed(&headers("application/json"), Body::from_stream(never)).await;
        assert_eq!(refused, Err(Kind::RequestTimeout));
    }
}
