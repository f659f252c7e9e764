//! What all listeners of the bus share: the live feed of every event, and the signals of the bus's
//! life.

use std::time::Duration;

use super::{Journal, Note, bus, notes};
use crate::Lifecycle;

#[tokio::test]
async fn the_live_feed_hears_every_channel_and_reports_its_gap() {
    let bus = bus(0);
    let channel = notes(&bus);
    let other = bus.declare::<Note>("jobs", "other").expect("free");
    let mut feed = bus.feed(2).expect("in range");
    channel.post(Note(1)).expect("open");
    let heard = feed.recv().await.expect("open");
    let event = heard.into_result().expect("an event");
    assert_eq!((event.source(), event.event()), ("jobs", "done"));
    assert_eq!(event.read(|event| event.entity().as_u64()), Some(1));
    for number in 0..3 {
        channel.post(Note(number)).expect("open");
    }
    other.post(Note(9)).expect("open");
    let heard = feed.recv().await.expect("open");
    assert_eq!(heard.into_result().expect_err("a gap").missed, 2);
    let heard = feed.recv().await.expect("open");
    let event = heard.into_result().expect("an event");
    assert_eq!(event.event(), "done");
    let heard = feed.recv().await.expect("open");
    let event = heard.into_result().expect("an event");
    assert_eq!(event.event(), "other");
    let _report = bus.shutdown(Duration::ZERO).await;
    assert!(feed.recv().await.is_none());
}

#[tokio::test]
async fn the_life_of_the_bus_can_be_followed() {
    let bus = bus(2);
    let mut lifecycle = bus.lifecycle();
    drop(bus.attach_worker(0).expect("free"));
    let (other, handle) = (bus.clone(), Journal::<u64>::new());
    std::thread::spawn(move || {
        let worker = other.attach_worker(1).expect("free");
        let (kept, circle) = (worker.clone(), handle.clone());
        other.declare::<Note>("jobs", "done").expect("free");
        // A handler that holds its own worker: only the thread's end ends it.
        worker
            .register(
                move |note: &Note| circle.write(note.0 + kept.worker() as u64),
                "jobs",
                "done",
            )
            .expect("declared")
            .keep();
    })
    .join()
    .expect("no panic");
    let _report = bus.shutdown(Duration::ZERO).await;
    let mut heard = Vec::new();
    while let Some(turn) = lifecycle.recv().await {
        heard.push(turn.into_result().expect("few enough"));
    }
    assert_eq!(
        heard,
        [
            Lifecycle::WorkerAttached(0),
            Lifecycle::WorkerLeft(0),
            Lifecycle::WorkerAttached(1),
            Lifecycle::WorkerLeft(1),
            Lifecycle::Closing,
            Lifecycle::Closed
        ]
    );
}
