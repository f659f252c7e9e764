//! Entities through the public face of the crate: what the derive macro writes, and what schemas do with it.

mod derived;
mod entities;
