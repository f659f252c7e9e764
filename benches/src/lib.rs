//! Ours beside the peers, in one run.
//!
//! A *subject* is one workload (population, skew, threads); its *contestants* are ours and the
//! peers' ways to do it. The harness lets them alternate in small slices within one process, checks
//! that their results agree, and reports medians and ratios as a table and as
//! `target/bench/NAME.json`. `scripts/bench NAME` runs one group of subjects.

// Lowest first: a module imports from lines above it alone. No group of subjects knows another.
// Rows, keys and skewed choices from a seed; knows no contestant.
pub mod workload;
// Rounds, medians, tables; knows no subject.
pub mod harness;
// A lookup of what is cached.
pub mod hit;
// Loads, promotions and invalidations.
pub mod miss;
// Posts, and the time until every listener has the event.
pub mod bus;
// Data access, beside bare sqlx.
pub mod store;
// Nodes that receive each other's changes, beside raw clients.
pub mod cluster;
// Loads that began before a change.
pub mod conformance;
