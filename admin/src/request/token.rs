//! Checks the admin token: which requests may use the API.

use http::{HeaderMap, header};
use subtle::ConstantTimeEq as _;

use crate::problem::{Kind, Problem};

/// Refuses a request that does not carry the token exactly once, as `Authorization: Bearer TOKEN`.
///
/// The comparison takes the same time wherever the two differ; it reveals the length alone.
/// An empty token is never matched.
pub(crate) fn check(token: &str, headers: &HeaderMap) -> Result<(), Problem> {
    let mut sent = headers.get_all(header::AUTHORIZATION).iter();
    let (first, second) = (sent.next(), sent.next());
    let matches = match (first, second) {
        (Some(value), None) => bearer(value.as_bytes())
            .is_some_and(|sent| bool::from(sent.ct_eq(token.as_bytes())) && !token.is_empty()),
        _ => false,
    };

    if matches {
        Ok(())
    } else {
        Err(Problem::new(
            Kind::Unauthorized,
            "this API requires `Authorization: Bearer` and its token",
        ))
    }
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn allowed(token: &str, sent: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in sent {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static(value));
        }
        check(token, &headers).is_ok()
    }

    #[test]
    fn only_the_token_itself_opens_the_api() {
        assert!(allowed("s3cret", &["Bearer s3cret"]));
        assert!(allowed("s3cret", &["bearer  s3cret"]));
        for wrong in [
            "",
            "Bearer",
            "Bearer ",
            "s3cret",
            "Basic s3cret",
            "Bearer s3cre",
            "Bearer s3cretx",
        ] {
            assert!(!allowed("s3cret", &[wrong]), "{wrong}");
        }
        assert!(!allowed("s3cret", &[]));
        assert!(!allowed("s3cret", &["Bearer s3cret", "Bearer s3cret"]));
    }

    #[test]
    fn an_empty_token_opens_nothing() {
        assert!(!allowed("", &["Bearer "]));
        assert!(!allowed("", &[]));
    }
}
