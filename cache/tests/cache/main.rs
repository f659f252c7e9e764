//! The promises of the cache, through its public face.
#![cfg(not(shuttle))]

mod answers;
mod kit;
