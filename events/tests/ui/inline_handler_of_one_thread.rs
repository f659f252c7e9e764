//! An inline handler runs on any poster's thread, so it may not hold what belongs to one.

use std::{cell::Cell, rc::Rc};

#[derive(serde::Serialize)]
struct Started(u64);

fn main() {
    let bus = tidings_events::WorkerEvents::builder().build().unwrap();
    let seen = Rc::new(Cell::new(0));
    let handler = move |started: &Started| seen.set(started.0);
    bus.register(handler, "jobs", "started").unwrap().keep();
}
