//! One channel, three ways to listen. Run it: `cargo run -p tidings-events --example listen`

use std::{thread, time::Duration};

use serde::Serialize;
use tidings_events::{Overflow, SubscribeOptions, WorkerEvents};

#[derive(Serialize)]
struct Reloaded {
    revision: u64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let bus = WorkerEvents::builder().workers(1).build()?;
    let reloads = bus.declare::<Reloaded>("config", "reloaded")?;

    bus.register(
        |event: &Reloaded| println!("inline: {}", event.revision),
        "config",
        "reloaded",
    )?
    .keep();

    let own = bus.clone();
    let (ready, started) = std::sync::mpsc::channel();
    let worker = thread::spawn(move || {
        let worker = own.attach_worker(0).expect("no other thread took it");
        worker
            .register(
                |event: &Reloaded| println!("worker: {}", event.revision),
                "config",
                "reloaded",
            )
            .expect("the channel was declared above")
            .keep();
        ready.send(()).expect("main waits for it");
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime
            .expect("no driver is asked for")
            .block_on(worker.run());
    });
    started.recv()?;

    // Room for two: the third event pushes the first one out, and the queue says so.
    let options = SubscribeOptions::new()
        .capacity(2)
        .overflow(Overflow::DropOldest);
    let mut queue = bus.subscribe::<Reloaded>("config", "reloaded", options)?;

    for revision in 1..=3 {
        reloads.post(Reloaded { revision })?;
    }
    println!("{:?}", bus.shutdown(Duration::from_secs(1)).await);
    while let Some(heard) = queue.recv().await {
        match heard.into_result() {
            Ok(event) => println!("queue: {}", event.revision),
            Err(gap) => println!("queue: missed {}", gap.missed),
        }
    }
    worker.join().expect("the worker does not panic");
    Ok(())
}
