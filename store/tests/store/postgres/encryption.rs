//! Servers with TLS.

use tidings_store::{Error, Store};
use tidings_testkit::Server;

use super::{
    database::needs,
    support::{Fixture, schemas},
};
use crate::entities::{Consumer, consumer};

#[tokio::test]
async fn links_are_encrypted_and_the_server_is_proven_where_that_is_demanded() {
    let (server, certificates) = Server::start_tls();
    let database = server.database().await;
    let at = |host: &str, parameters: &str| {
        let (port, name) = (database.port(), database.name());
        format!("postgres://postgres@{host}:{port}/{name}?sslmode={parameters}")
    };
    let believes = |file: std::path::PathBuf| format!("&sslrootcert={}", file.display());
    let authority = believes(certificates.authority());
    let stranger = believes(certificates.stranger());

    for (number, url) in [
        at("127.0.0.1", "require"),
        at("127.0.0.1", &format!("verify-ca{authority}")),
        at("localhost", &format!("verify-full{authority}")),
    ]
    .iter()
    .enumerate()
    {
        let store = Store::open(url).await.unwrap();
        let fixture = Fixture::attach(store, &schemas()).await.unwrap();
        let name = format!("bob {number}");
        let inserted = fixture.dao::<Consumer>().insert(consumer(&name)).await;
        inserted.unwrap();
        let log = fixture.store.log(needs(schemas())).unwrap();
        log.head(None).await.unwrap();

        let counted = database.psql(
            "SELECT count(*) FILTER (WHERE s.ssl) > 1, count(*) FILTER (WHERE NOT s.ssl) \
             FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE a.application_name = 'tidings'",
        );
        assert_eq!(counted.trim(), "t|0", "{url}");
        fixture.store.close().await.unwrap();
    }

    // Another authority; and a name for which the certificate is not valid.
    for url in [
        at("localhost", &format!("verify-full{stranger}")),
        at("127.0.0.1", &format!("verify-ca{stranger}")),
        at("127.0.0.1", &format!("verify-full{authority}")),
    ] {
        let error = Store::open(&url).await.unwrap_err();
        assert!(matches!(error, Error::Unreachable(_)), "{url}: {error:?}");
    }
}
