//! The program and its settings, from the outside.

mod auth;
mod capture;
mod drain;
mod operations;
mod process;
mod program;
mod settings;
mod startup;
mod worst;
