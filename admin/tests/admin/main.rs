//! The admin API through its router, on a real node over a real database.
//!
//! The entities are this test's own: a small gateway's under other names, and a warehouse with the
//! kinds and relations that a gateway lacks. Nothing of the API is written for either.
//!
//! The suite runs on each engine: its files are modules of both, and take their databases from the
//! `database` beside them.

#![expect(clippy::duplicate_mod, reason = "one suite, on each engine")]

mod entities;

mod sqlite {
    //! The suite on SQLite.

    mod database;

    #[path = "../all_kinds.rs"]
    mod all_kinds;
    #[path = "../audits.rs"]
    mod audits;
    #[path = "../browsers.rs"]
    mod browsers;
    #[path = "../bytes.rs"]
    mod bytes;
    #[path = "../cache.rs"]
    mod cache;
    #[path = "../composite.rs"]
    mod composite;
    #[path = "../conditions.rs"]
    mod conditions;
    #[path = "../events.rs"]
    mod events;
    #[path = "../explain.rs"]
    mod explain;
    #[path = "../given.rs"]
    mod given;
    #[path = "../guards.rs"]
    mod guards;
    #[path = "../health.rs"]
    mod health;
    #[path = "../items.rs"]
    mod items;
    #[path = "../kinds.rs"]
    mod kinds;
    #[path = "../lists.rs"]
    mod lists;
    #[path = "../nearly.rs"]
    mod nearly;
    #[path = "../nested.rs"]
    mod nested;
    #[path = "../node.rs"]
    mod node;
    #[path = "../nonsense.rs"]
    mod nonsense;
    #[path = "../openapi.rs"]
    mod openapi;
    #[path = "../races.rs"]
    mod races;
    #[path = "../refusals.rs"]
    mod refusals;
    #[path = "../rules.rs"]
    mod rules;
    #[path = "../scrape.rs"]
    mod scrape;
    #[path = "../sockets.rs"]
    mod sockets;
}

mod postgres {
    //! The suite on PostgreSQL.

    mod database;

    #[path = "../all_kinds.rs"]
    mod all_kinds;
    #[path = "../audits.rs"]
    mod audits;
    #[path = "../browsers.rs"]
    mod browsers;
    #[path = "../bytes.rs"]
    mod bytes;
    #[path = "../cache.rs"]
    mod cache;
    #[path = "../composite.rs"]
    mod composite;
    #[path = "../conditions.rs"]
    mod conditions;
    #[path = "../events.rs"]
    mod events;
    #[path = "../explain.rs"]
    mod explain;
    #[path = "../given.rs"]
    mod given;
    #[path = "../guards.rs"]
    mod guards;
    #[path = "../health.rs"]
    mod health;
    #[path = "../items.rs"]
    mod items;
    #[path = "../kinds.rs"]
    mod kinds;
    #[path = "../lists.rs"]
    mod lists;
    #[path = "../nearly.rs"]
    mod nearly;
    #[path = "../nested.rs"]
    mod nested;
    #[path = "../node.rs"]
    mod node;
    #[path = "../nonsense.rs"]
    mod nonsense;
    #[path = "../openapi.rs"]
    mod openapi;
    #[path = "../races.rs"]
    mod races;
    #[path = "../refusals.rs"]
    mod refusals;
    #[path = "../rules.rs"]
    mod rules;
    #[path = "../scrape.rs"]
    mod scrape;
    #[path = "../sockets.rs"]
    mod sockets;
}
