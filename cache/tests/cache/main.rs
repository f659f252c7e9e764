//! The promises of the cache, through its public interface.
#![cfg(not(shuttle))]

mod answers;
mod bounds;
mod bulk;
mod causes;
mod checker;
mod decoded;
mod explained;
mod fences;
mod fills;
mod flights;
mod kit;
mod limits;
mod loads;
mod names;
mod nodes;
mod outside;
mod own_level;
mod panics;
mod permits;
mod proofs;
mod published;
mod renewals;
mod replicas;
mod sampled;
mod stale;
mod staleness;
mod times;
mod view;
mod view_callers;
mod walk;
mod walker;
