//! The promises of the store, through its public API.
//!
//! One suite runs on each engine: files that are not specific to an engine are modules of both, and
//! take their databases from the `database` beside them.

#![expect(clippy::duplicate_mod, reason = "one suite, on each engine")]

mod entities;

mod sqlite {
    //! The suite on SQLite, and the tests for SQLite alone.

    mod database;
    #[path = "../support.rs"]
    mod support;

    #[path = "../suite/cascades.rs"]
    mod cascades;
    #[path = "../suite/composite.rs"]
    mod composite;
    #[path = "../suite/events.rs"]
    mod events;
    #[path = "../suite/expiry.rs"]
    mod expiry;
    #[path = "../suite/hooks.rs"]
    mod hooks;
    #[path = "../suite/kinds.rs"]
    mod kinds;
    #[path = "../suite/large.rs"]
    mod large;
    #[path = "../suite/migrations.rs"]
    mod migrations;
    #[path = "../suite/model.rs"]
    mod model;
    #[path = "../suite/pages.rs"]
    mod pages;
    #[path = "../suite/queries.rs"]
    mod queries;
    #[path = "../suite/rows.rs"]
    mod rows;
    #[path = "../suite/rules.rs"]
    mod rules;
    #[path = "../suite/transactions.rs"]
    mod transactions;
    #[path = "../suite/versions.rs"]
    mod versions;
    #[path = "../suite/writes.rs"]
    mod writes;

    mod commits;
    mod killed;
    mod locked;
    #[path = "migrations.rs"]
    mod migrations_here;
    mod opening;
    mod rebuilds;
    mod tables;
}

mod postgres {
    //! The suite on PostgreSQL, and the tests for PostgreSQL alone.

    mod database;
    #[path = "../support.rs"]
    mod support;

    #[path = "../suite/cascades.rs"]
    mod cascades;
    #[path = "../suite/composite.rs"]
    mod composite;
    #[path = "../suite/events.rs"]
    mod events;
    #[path = "../suite/expiry.rs"]
    mod expiry;
    #[path = "../suite/hooks.rs"]
    mod hooks;
    #[path = "../suite/kinds.rs"]
    mod kinds;
    #[path = "../suite/large.rs"]
    mod large;
    #[path = "../suite/migrations.rs"]
    mod migrations;
    #[path = "../suite/model.rs"]
    mod model;
    #[path = "../suite/pages.rs"]
    mod pages;
    #[path = "../suite/queries.rs"]
    mod queries;
    #[path = "../suite/rows.rs"]
    mod rows;
    #[path = "../suite/rules.rs"]
    mod rules;
    #[path = "../suite/transactions.rs"]
    mod transactions;
    #[path = "../suite/versions.rs"]
    mod versions;
    #[path = "../suite/writes.rs"]
    mod writes;

    mod encryption;
    mod indexes;
    #[path = "migrations.rs"]
    mod migrations_here;
    mod opening;
    mod outages;
    mod poolers;
    mod references;
    mod standbys;
    mod tables;
    mod waits;
    mod writers;
}
