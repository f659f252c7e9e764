//! The bus without the rest of Tidings: one channel, three ways to listen, and a gap.
//!
//! Run: `cargo run --example bus_alone`

use std::{sync::mpsc, thread, time::Duration};

use serde::Serialize;
use tidings_events::{Overflow, SubscribeOptions, WorkerEvents};

#[derive(Serialize)]
struct Reloaded {
    revision: u64,
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = WorkerEvents::builder().workers(1).build()?;
    let reloads = bus.declare::<Reloaded>("config", "reloaded")?;

    // Inline: on the poster's thread, before `post` returns.
    let print = |event: &Reloaded| println!("inline: {}", event.revision);
    bus.register(print, "config", "reloaded")?.keep();

    // On a worker's own thread, which reports that it is ready before we post.
    let own = bus.clone();
    let (ready, started) = mpsc::channel();
    let worker = thread::spawn(move || {
        let worker = own.attach_worker(0).expect("no other thread took it");
        let print = |event: &Reloaded| println!("worker: {}", event.revision);
        let registered = worker.register(print, "config", "reloaded");
        registered.expect("the channel was declared above").keep();
        ready.send(()).expect("main waits for it");

        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let runtime = runtime.expect("no driver is asked for");
        runtime.block_on(worker.run());
    });
    started.recv()?;

    // As a queue with room for two: the third event pushes out the first one.
    let options = SubscribeOptions::new()
        .capacity(2)
        .overflow(Overflow::DropOldest);
    let mut queue = bus.subscribe::<Reloaded>("config", "reloaded", options)?;
    for revision in 1..=3 {
        reloads.post(Reloaded { revision })?;
    }

    let report = bus.shutdown(Duration::from_secs(5)).await;
    println!("{report:?}");
    let (mut missed, mut received) = (0, Vec::new());

    while let Some(heard) = queue.recv().await {
        match heard.into_result() {
            Ok(event) => received.push(event.revision),
            Err(gap) => missed += gap.missed,
        }
    }

    println!("queue: missed {missed}, received {received:?}");
    assert_eq!((missed, received), (1, vec![2, 3]));

    worker.join().expect("the worker does not panic");
    Ok(())
}
