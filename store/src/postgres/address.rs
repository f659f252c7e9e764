//! [`Address`]: the address of a database, with the credentials.
//!
//! The password stays private: `Debug` and messages show only host, port and name.

use std::{fmt, str::FromStr as _};

use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

use crate::{error::Error, settings::Pooler};

/// The parameters that a URL may have. The driver logs those that it does not know, with their
/// values, so others are refused before it sees them.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "hostaddr",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
];

/// The address of a database, with the credentials.
#[derive(Clone)]
pub(crate) struct Address {
    options: PgConnectOptions,
    shown: String,
}

impl Address {
    /// Reads `postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=..`.
    pub(crate) fn parse(url: &str) -> Result<Self, Error> {
        let invalid = |reason: String| Error::Url { reason };
        let query = url.split_once('?').map_or("", |(_, query)| query);
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            let name = parameter.split('=').next().unwrap_or_default();
            let known = name == "user" || PARAMETERS.contains(&name);
            if !known {
                let known = PARAMETERS.join(", ");
                // The name is not repeated: it may be a password in the wrong place.
                return Err(invalid(format!(
                    "it has an unknown parameter; the parameters are: user, {known}"
                )));
            }
        }

        // The driver's message is not passed on: it may repeat parts of the URL.
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            invalid("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE".to_owned())
        })?;
        if options.get_database().is_none_or(str::is_empty) {
            return Err(invalid(
                "it names no database: expected postgres://HOST:PORT/DATABASE".to_owned(),
            ));
        }

        let shown = shown(&options);
        Ok(Self { options, shown })
    }

    /// Returns the options for connecting.
    pub(crate) fn options(&self, pooler: Pooler) -> PgConnectOptions {
        let options = self.options.clone().disable_statement_logging();
        let options = match options.get_application_name() {
            Some(_) => options,
            None => options.application_name("tidings"),
        };

        match pooler {
            Pooler::None => options,
            // A pooler refuses parameters that it cannot set for each of its clients.
            Pooler::Transaction => options.extra_float_digits(None),
        }
    }

    /// Returns host, port and name, for messages.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }
}

/// Returns host, port and name, for messages.
pub(crate) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_default();
    format!("{}:{}/{database}", options.get_host(), options.get_port())
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Address").field(&self.shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_and_never_show_a_secret() {
        let url = "postgres://kim:s3cret@db.example:6543/shop?sslmode=require";
        let address = Address::parse(url).unwrap();
        assert_eq!(address.shown(), "db.example:6543/shop");
        assert!(!format!("{address:?}").contains("s3cret"));

        for url in [
            "postgres://kim:s3cret@db.example:99999/shop",
            "postgres://kim:s3cret@db.example/",
            "postgres://kim:s3cret@db.example",
            "postgres://kim@db.example/shop?pasword=s3cret",
            "postgres://kim@db.example/shop?s3cret",
            "postgres://kim:s3cret@db.example/shop?sslmode=s3cret",
            "postgres://[s3cret/shop",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(matches!(error, Error::Url { .. }), "{url}: {error:?}");
            let said = format!("{error} {error:?}");
            assert!(!said.contains("s3cret"), "{said}");
        }
    }
}
