//! What the store promises, through its public face.

mod cascades;
mod entities;
mod events;
mod hooks;
mod killed;
mod model;
mod opening;
mod pages;
mod rows;
mod support;
mod tables;
mod writes;
