//! What the store promises, through its public face.

mod cascades;
mod entities;
mod events;
mod hooks;
mod opening;
mod pages;
mod rows;
mod support;
mod writes;
