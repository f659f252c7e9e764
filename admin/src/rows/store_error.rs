//! The store's errors as clients see them: everything that a client can correct, and nothing else.

use serde_json::{Map, Value as Json};
use tidings::{
    core::Chain,
    store::{Error, ErrorKind},
};

use crate::problem::{Kind, Problem};

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        match &error {
            Error::Violations { violations, .. } => Self::violations(violations),
            Error::Unique { fields, .. } => Self::new(Kind::UniqueViolation, error.to_string())
                .with_fields(each(fields, "another row has this value")),
            Error::ForeignKey {
                field, references, ..
            } => {
                let message = format!("there is no such row in {references}");
                Self::new(Kind::ForeignKeyViolation, error.to_string())
                    .with_fields(each(std::slice::from_ref(field), &message))
            }
            Error::Restricted { .. } => Self::new(Kind::ForeignKeyViolation, error.to_string()),
            Error::Hook { source, .. } => {
                let cause = source.to_string();
                Self::new(Kind::Refused, error.to_string()).because(cause)
            }
            Error::InvalidOffset => Self::invalid_offset(),
            Error::InvalidSize { .. } => Self::new(Kind::InvalidSize, error.to_string()),
            // The row was changed by others each time it was looked up.
            Error::Condition { .. } => Self::contended(),
            _ => Self::of_kind(&error),
        }
    }
}

impl Problem {
    /// Makes the problem of an error of which only the kind matters to the client.
    fn of_kind(error: &Error) -> Self {
        match error.kind() {
            ErrorKind::Unavailable | ErrorKind::InDoubt => {
                let message = "the database is unavailable; try again later";
                Self::new(Kind::Unavailable, message).because(Chain(error))
            }
            ErrorKind::Changed => Self::contended(),
            ErrorKind::Refused => Self::new(Kind::Refused, error.to_string()).because(Chain(error)),
            _ => Self::internal(Chain(error)),
        }
    }
}

fn each(fields: &[String], message: &str) -> Map<String, Json> {
    fields
        .iter()
        .map(|field| (field.clone(), message.into()))
        .collect()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn an_unavailable_database_is_a_503_that_tells_nothing_of_it() {
        let problem = Problem::from(Error::Closed);
        assert_eq!(problem.kind().facts().0, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(problem.cause(), Some("the store is closed"));
        let body = problem.to_json();
        assert_eq!(body["code"], 8);
        assert!(!body.to_string().contains("closed"), "{body}");
    }

    #[test]
    fn what_a_hook_says_stays_inside() {
        let problem = Problem::from(Error::Hook {
            entity: "consumers".to_owned(),
            method: tidings::store::Method::Insert,
            source: "quota 7 of tenant x is used up".into(),
        });
        assert_eq!(problem.kind(), Kind::Refused);
        assert_eq!(problem.cause(), Some("quota 7 of tenant x is used up"));
        assert!(!problem.to_json().to_string().contains("tenant"));
    }

    #[test]
    fn what_is_not_the_clients_concern_is_a_500() {
        let problem = Problem::from(Error::Panicked {
            what: "a hook",
            message: "index out of bounds".to_owned(),
        });
        assert_eq!(problem.kind(), Kind::Internal);
        assert!(problem.cause().is_some());
    }
}
