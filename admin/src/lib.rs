//! An HTTP admin API generated from entity schemas: nothing in it is written for one entity.
//!
//! [`router`] makes the API of a node as an axum router. Each entity whose schema has an
//! [`AdminApi`](tidings::core::AdminApi) gets a collection, its rows by primary or endpoint key,
//! the rows that refer to it below each of them, and the rows that it refers to. Besides: the
//! schemas, what is cached, the node's status and its metrics. `contract.txt` beside the sources
//! lists all paths and all refusals for a small gateway.
//!
//! # What it promises
//!
//! - A request that is refused changes nothing; what is wrong is said by field, and nothing else is
//!   said of it.
//! - A write that was begun is finished, evictions and handlers included, also when its client goes
//!   away.
//! - A path says whose a row is: a row of another parent is not found, and never touched.
//!
//! # What it refuses
//!
//! Bodies that are neither JSON nor a form, that are too long or too slow, that name a key twice;
//! paths and queries that are not UTF-8, arguments that mean nothing; every request without the
//! token, where one is set, and where none is, every request to another name than a loopback one;
//! writes from pages of other sites. It speaks no TLS and has no users: bind it to a loopback
//! address or put it behind a proxy that has both.

// The order of these lines is the order of the layers, lowest first: a module imports from lines
// above it alone.
// Why a program is not ready; knows nothing of requests.
mod readiness;
// What is counted, as text; knows nothing of requests.
mod metrics;
// What can be said about an API; knows nothing of requests.
mod options;
// Waits that requests ask for; knows no resource.
mod waits;
// Responses with a body; knows no resource.
mod answer;
// Refusals in their one shape; knows no resource.
mod problem;
// Positions and receipts on answers; knows no resource.
mod proof;
// A line in the log for each write; knows no value of any row.
mod audit;
// What a client said, as values; knows schemas, and no rows.
mod request;
// Rows by the names that paths give them; knows the store, and no HTTP.
mod rows;
// What a path means, made from schemas alone.
mod routes;
// The answer of each resource.
mod resource;
// From a request to its answer: guards, routing, what every answer carries.
mod api;

pub use self::{
    answer::Unending,
    api::{router, status_router},
    metrics::Metrics,
    options::AdminOptions,
    problem::malformed,
    readiness::{Readiness, Unready},
    waits::Waits,
};
