//! A loop over a queue has to say what is to happen at a gap: the easy ways to leave that out do
//! not compile.

use tidings_events::{SubscribeOptions, WorkerEvents};

#[derive(serde::Serialize)]
struct Started(u64);

fn main() {
    let bus = WorkerEvents::builder().build().unwrap();
    let mut starts = bus
        .subscribe::<Started>("jobs", "started", SubscribeOptions::new())
        .unwrap();
    while let Ok(heard) = starts.try_recv() {
        println!("{}", heard.0);
    }
    while let Ok(Ok(started)) = starts.try_recv() {
        println!("{}", started.0);
    }
    while let Ok(heard) = starts.try_recv() {
        match heard.into_result() {
            Ok(started) => println!("{}", started.0),
        }
    }
}
