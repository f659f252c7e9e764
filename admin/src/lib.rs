//! An HTTP admin API generated from entity schemas: nothing in it is written for one entity.
//!
//! [`router`] makes the API of a node as an axum router. Each entity whose schema has an
//! [`AdminApi`](tidings::core::AdminApi) gets a collection, its rows by primary or endpoint key, the rows that
//! refer to it below each of them, and the rows that it refers to. Besides: the schemas, what is cached, the node's
//! status and its metrics. `contract.txt` beside the sources lists all paths and all refusals for a small gateway.
//!
//! # What it promises
//!
//! - A request that is refused changes nothing; what is wrong is said by field, and nothing else is said of it.
//! - A write that was begun is finished, evictions and handlers included, also when its client goes away.
//! - A path says whose a row is: a row of another parent is not found, and never touched.
//!
//! # What it refuses
//!
//! Bodies that are neither JSON nor a form, that are too long or too slow, that name a key twice; paths and
//! queries that are not UTF-8; every request without the token, where one is set. It speaks no TLS and has no
//! users: bind it to a loopback address or put it behind what has both.

mod answer;
mod api;
mod body;
mod cached;
mod decode;
mod describe;
mod form;
mod handlers;
mod json;
mod metrics;
mod names;
mod options;
mod problem;
mod query;
mod routes;
mod rows;
mod status;
mod store_error;
mod token;

pub use self::{api::router, options::AdminOptions};
