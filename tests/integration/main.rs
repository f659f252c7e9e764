//! The promises that span crates, through the public API and over real HTTP. One binary, so that it links once.

mod node;
