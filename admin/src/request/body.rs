//! Reads a request's body, whatever its content type, as one JSON object.

use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value as Json};

use super::{
    decode,
    form::{self, Form},
    json, multipart,
    upload::Upload,
};
use crate::{
    AdminOptions,
    problem::{Kind, Problem},
};

/// How a body is written.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Format {
    Json,
    Form,
    /// Parts, separated by this boundary.
    Multipart(String),
    /// No type was named, which is allowed only for an empty body.
    Unnamed,
}

/// Reads a body as the JSON object that it means. No body at all means no fields.
pub(crate) async fn object(
    meaning: &Form<'_>,
    headers: &HeaderMap,
    upload: &mut Upload,
    options: &AdminOptions,
) -> Result<Map<String, Json>, Problem> {
    let format = format(headers)?;
    let bytes = upload.read(headers, options).await?;

    let refused = |message: String| Problem::new(Kind::InvalidBody, message);
    match format {
        Format::Json => json::object(&bytes).map_err(refused),
        Format::Form => {
            let pairs = decode::pairs(&bytes)
                .map_err(|error| refused(format!("cannot parse the body as a form: {error}")))?;
            form::object(meaning, pairs).map_err(refused)
        }
        Format::Multipart(boundary) => {
            let pairs = multipart::pairs(&boundary, bytes).await.map_err(refused)?;
            form::object(meaning, pairs).map_err(refused)
        }
        Format::Unnamed if bytes.is_empty() => Ok(Map::new()),
        Format::Unnamed => Err(unsupported("a body without a content type")),
    }
}

/// Reads the format of the body from the headers, before any of the body is read.
fn format(headers: &HeaderMap) -> Result<Format, Problem> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported("an encoded body"));
    }

    let mut types = headers.get_all(header::CONTENT_TYPE).iter();
    let content_type = match (types.next(), types.next()) {
        (Some(content_type), None) => content_type,
        (Some(_), Some(_)) => return Err(unsupported("a body of two types")),
        (None, _) => return Ok(Format::Unnamed),
    };

    named(content_type).ok_or_else(|| {
        let named = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
        unsupported(&format!("a body of type {named:?}"))
    })
}

fn named(content_type: &HeaderValue) -> Option<Format> {
    let text = content_type.to_str().ok()?;
    let mut parts = text.split(';').map(str::trim);
    let format = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" => Format::Json,
        "application/x-www-form-urlencoded" => Format::Form,
        "multipart/form-data" => Format::Multipart(multer::parse_boundary(text).ok()?),
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
        "{what} cannot be read: send application/json, application/x-www-form-urlencoded or \
         multipart/form-data in UTF-8"
    );
    Problem::new(Kind::UnsupportedMediaType, message)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::stream;
    use tidings::core::{Field, Schema};

    use super::*;
    use crate::request::form::Blank;

    fn schema() -> Schema {
        Schema::builder("things")
            .field(Field::of::<i64>("id").primary_key())
            .build()
    }

    fn headers(content_type: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))])
    }

    async fn parsed(headers: &HeaderMap, body: impl Into<Body>) -> Result<Json, Kind> {
        let schema = schema();
        let meaning = Form {
            schema: &schema,
            schemas: &[],
            blank: Blank::Kept,
        };
        let options = AdminOptions::new().body_limit(64);
        let mut upload = Upload::new(headers, body.into());
        object(&meaning, headers, &mut upload, &options)
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
            (
                "multipart/form-data; boundary=\"x y\"",
                "--x y\r\nContent-Disposition: form-data; name=id\r\n\r\n7\r\n--x y--",
            ),
        ];
        for (content_type, body) in types {
            assert_eq!(parsed(&headers(content_type), body).await, expected);
        }
        assert_eq!(
            parsed(&HeaderMap::new(), "").await,
            Ok(Json::Object(Map::new()))
        );
    }

    #[tokio::test]
    async fn other_types_are_refused() {
        let types = [
            "text/plain",
            "multipart/form-data",
            "multipart/mixed; boundary=x",
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
