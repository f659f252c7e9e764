//! Ours beside the peers, in one run.
//!
//! A *subject* is one workload (population, skew, threads); its *contestants* are ours and the peers'
//! ways to do it. The harness lets them alternate in small slices within one process, checks that their
//! results agree, and reports medians and ratios as a table and as `target/bench/NAME.json`.
//! `scripts/bench NAME` runs one group of subjects.

pub mod bus;
pub mod conformance;
pub mod harness;
pub mod hit;
pub mod miss;
pub mod workload;
