//! [`Kind`]: the kinds of databases, told apart by their URLs.

use std::sync::Arc;

use crate::{engine::Engine, error::Error, settings::Settings};

/// The kinds of databases that this program was built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    #[cfg(feature = "sqlite")]
    Sqlite,
    #[cfg(feature = "postgres")]
    Postgres,
}

pub(crate) fn kind_of(url: &str) -> Result<Kind, Error> {
    let Some((scheme, _)) = url.split_once(':') else {
        return Err(Error::Url {
            reason: "expected sqlite://PATH, sqlite::memory: or postgres://HOST/DATABASE"
                .to_owned(),
        });
    };

    // Nothing but the scheme is repeated: a URL may hold a password.
    match scheme.to_ascii_lowercase().as_str() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Kind::Sqlite),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => Ok(Kind::Postgres),
        _ => Err(Error::Unsupported {
            scheme: scheme.to_ascii_lowercase(),
        }),
    }
}

pub(super) async fn open(url: &str, settings: Settings) -> Result<Arc<dyn Engine>, Error> {
    match kind_of(url)? {
        #[cfg(feature = "sqlite")]
        Kind::Sqlite => Ok(Arc::new(
            crate::sqlite::engine::SqliteEngine::open(url, settings).await?,
        )),
        #[cfg(feature = "postgres")]
        Kind::Postgres => Ok(Arc::new(
            crate::postgres::engine::PostgresEngine::open(url, settings).await?,
        )),
    }
}
