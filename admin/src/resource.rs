//! The answers of each resource, one file for each. A file knows no other, except where two
//! resources show or do the same thing.

// `/cluster`; `/status` and `/cache` use it.
pub(crate) mod cluster;
// `/cache`, and the cache key of an entity.
pub(crate) mod cache;
// Lists and explanations of cached entries; knows no value.
pub(crate) mod cached;
// `/events`.
pub(crate) mod events;
// `/audit`.
pub(crate) mod audits;
// Collections, items and what they refer to.
pub(crate) mod rows;
// `/openapi.json`.
pub(crate) mod openapi;
// `/`.
pub(crate) mod root;
// `/schemas/{entity}`.
pub(crate) mod schema;
// `/status`.
pub(crate) mod status;
// `/livez` and `/readyz`; knows whether `/status` finds the database.
pub(crate) mod health;
