//! Who takes events out of a queue has to say what is to happen at a gap.

use tidings_events::{Heard, SubscribeOptions, WorkerEvents};

#[derive(serde::Serialize)]
struct Started(u64);

fn main() {
    let bus = WorkerEvents::builder().build().unwrap();
    let mut starts = bus
        .subscribe::<Started>("jobs", "started", SubscribeOptions::new())
        .unwrap();
    while let Ok(heard) = starts.try_recv() {
        match heard {
            Heard::Event(started) => println!("{}", started.0),
        }
    }
}
