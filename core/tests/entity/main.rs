//! Entities through the public face of the crate: what the derive macro writes and refuses, and
//! what schemas do with rows.

mod composite;
mod derived;
mod entities;
mod faults;
mod forms;
mod input;
mod keys;
mod kinds;
mod rules;
mod ui;
