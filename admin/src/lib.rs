//! An HTTP admin API generated from entity schemas. No route is specific to an entity.
//!
//! [`router`] builds the API of a node as an axum router. Each entity whose schema has an
//! [`AdminApi`](tidings::core::AdminApi) gets routes for its collection, for each row by primary or
//! endpoint key, for the rows that refer to that row, and for the rows to which it refers. Other
//! routes show the schemas, the cached values, and the node's status and metrics. `contract.txt`
//! beside the sources lists all paths and all refusals for a small gateway.
//!
//! # What it promises
//!
//! - A refused request changes nothing. The answer names each wrong field, and reveals nothing
//!   else.
//! - A write that has begun runs to its end, evictions and handlers included, even if its client
//!   goes away.
//! - A nested path reaches only the rows of its parent. A row of another parent is not found, and
//!   never changed.
//!
//! # What it refuses
//!
//! - Bodies that are neither JSON nor a form, bodies that are too long or arrive too slowly, and
//!   bodies that name a key twice.
//! - Paths and queries that are not UTF-8, and unknown arguments.
//! - Requests without the token, if one is set. Otherwise, requests to a host name that is not a
//!   loopback name.
//! - Writes from pages of other sites.
//!
//! The API speaks no TLS and has no users. Bind it to a loopback address, or put it behind a proxy
//! that has both.

// The modules are in the order of the layers, lowest first. A module imports only from lines above
// it.
// Why a program is not ready; knows nothing of requests.
mod readiness;
// The counts, as text; knows nothing of requests.
mod metrics;
// The options of an API; knows nothing of requests.
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
// The contents of requests, as values; knows schemas, and no rows.
mod request;
// Rows by the names that paths give them; knows the store, and no HTTP.
mod rows;
// The meaning of each path, made from schemas alone.
mod routes;
// The answer of each resource.
mod resource;
// From a request to its answer: guards, routing, the headers of every answer.
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
