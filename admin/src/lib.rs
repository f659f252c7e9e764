//! An HTTP admin API generated from entity schemas.
#![allow(dead_code)]
extern crate tidings_core as tidings;

mod answer;
mod body;
mod decode;
mod describe;
mod form;
mod json;
mod options;
mod problem;
mod query;
mod routes;
mod token;

pub use options::AdminOptions;
