//! The promises of the cache, through its public face.
#![cfg(not(shuttle))]

mod answers;
mod bounds;
mod bulk;
mod causes;
mod checker;
mod decoded;
mod fences;
mod flights;
mod kit;
mod loads;
mod names;
mod nodes;
mod outside;
mod permits;
mod published;
mod stale;
mod staleness;
mod times;
mod walk;
mod walker;
