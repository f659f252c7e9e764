//! The protocol over a log in memory that can be rigged: what the simulation does not vary.

mod conformance;
mod evictions;
mod hints;
mod membership;
mod panics;
mod receipts;
mod rigged;
mod sealed;
mod telling;
mod trouble;
mod watched;
