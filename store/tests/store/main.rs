//! What the store promises, through its public face.

mod cascades;
mod entities;
mod events;
mod rows;
mod support;
