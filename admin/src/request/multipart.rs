//! `multipart/form-data` whose parts are texts, as `curl --form` sends it: names and values, like a
//! form's.

use bytes::Bytes;
use futures_util::{future::ready, stream};
use multer::{Field, Multipart};

/// Returns the names and values of the parts, in order.
///
/// # Errors
///
/// A message for the client: the parts cannot be separated, or one has no name, is a file, or is
/// not UTF-8.
pub(crate) async fn pairs(boundary: &str, body: Bytes) -> Result<Vec<(String, String)>, String> {
    let body = stream::once(ready(Ok::<_, std::convert::Infallible>(body)));
    let mut parts = Multipart::new(body, boundary);
    let mut pairs = Vec::new();
    while let Some(part) = parts.next_field().await.map_err(unreadable)? {
        pairs.push(pair(part).await?);
    }
    Ok(pairs)
}

async fn pair(part: Field<'_>) -> Result<(String, String), String> {
    let name = part
        .name()
        .ok_or("a part of the body has no name")?
        .to_owned();

    let is_text = part.content_type().is_none_or(|of| of.type_() == "text");
    if part.file_name().is_some() || !is_text {
        return Err(format!("{name:?} is a file; expected text"));
    }

    let bytes = part.bytes().await.map_err(unreadable)?;
    let text = String::from_utf8(bytes.into());
    let text = text.map_err(|_| format!("{name:?}: expected UTF-8"))?;
    if text.contains('\0') || name.contains('\0') {
        return Err(format!("{name:?}: NUL is not allowed here"));
    }
    Ok((name, text))
}

fn unreadable(error: multer::Error) -> String {
    format!("cannot parse the body as multipart/form-data: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(body: &[u8]) -> Result<Vec<(String, String)>, String> {
        pairs("x", Bytes::copy_from_slice(body)).await
    }

    fn part(headers: &str, value: &str) -> String {
        format!("--x\r\n{headers}\r\n\r\n{value}\r\n")
    }

    #[tokio::test]
    async fn text_parts_are_names_and_values_in_order() {
        let body = [
            part(
                "Content-Disposition: form-data; name=\"username\"",
                "b o+b\r\n%41",
            ),
            part("Content-Disposition: form-data; name=\"tags[]\"", ""),
            part(
                "content-disposition: form-data; name=tags[]\r\nContent-Type: text/plain; charset=utf-8",
                "é",
            ),
        ];
        let read = read((body.concat() + "--x--\r\n").as_bytes())
            .await
            .unwrap();
        let expected = [
            ("username", "b o+b\r\n%41"),
            ("tags[]", ""),
            ("tags[]", "é"),
        ];
        assert_eq!(
            read,
            expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        assert_eq!(self::read(b"--x--\r\n").await, Ok(Vec::new()));
    }

    #[tokio::test]
    async fn what_is_no_text_is_refused_with_a_reason() {
        let file = part(
            "Content-Disposition: form-data; name=\"f\"; filename=\"a\"",
            "v",
        );
        let image = part(
            "Content-Disposition: form-data; name=\"f\"\r\nContent-Type: image/png",
            "v",
        );
        let nameless = part("Content-Disposition: form-data", "v");
        for (body, reason) in [
            (file, "is a file"),
            (image, "is a file"),
            (nameless, "no name"),
        ] {
            let refused = read((body + "--x--\r\n").as_bytes()).await.unwrap_err();
            assert!(refused.contains(reason), "{refused}");
        }
        let latin: &[u8] =
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n\xe9\r\n--x--\r\n";
        assert!(read(latin).await.unwrap_err().contains("UTF-8"));
        let wrong: [&[u8]; 5] = [
            b"",
            b"--y--\r\n",
            b"--x\r\n",
            b"--x\r\n\r\n",
            b"--x\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv",
        ];
        for body in wrong {
            assert!(read(body).await.is_err(), "{}", body.escape_ascii());
        }
    }
}
