//! A post allocates the event at most, and nothing else: shown with a counting allocator, which
//! needs a binary of its own.

use serde::Serialize;
use tidings_events::{SubscribeOptions, WorkerEvents};

#[derive(Serialize)]
struct Note(u64);

const POSTS: u64 = 10_000;

/// Counts the allocations of `POSTS` runs of `post`, after enough of them to reach a steady state.
fn allocations(mut post: impl FnMut(u64)) -> u64 {
    (0..1000).for_each(&mut post);
    allocation_counter::measure(|| (0..POSTS).for_each(&mut post)).count_total
}

#[test]
fn an_inline_post_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let bus = WorkerEvents::builder().build()?;
    let channel = bus.declare::<Note>("jobs", "done")?;
    for _ in 0..8 {
        bus.register(|_: &Note| (), "jobs", "done")?.keep();
    }
    let count = allocations(|number| {
        channel.post(Note(number)).expect("the bus is open");
    });
    assert_eq!(count, 0);
    Ok(())
}

#[test]
fn a_post_to_workers_and_queues_allocates_the_event_alone() -> Result<(), Box<dyn std::error::Error>>
{
    let bus = WorkerEvents::builder().workers(2).build()?;
    let channel = bus.declare::<Note>("jobs", "done")?;
    let workers = [bus.attach_worker(0)?, bus.attach_worker(1)?];
    for worker in &workers {
        worker.register(|_: &Note| (), "jobs", "done")?.keep();
    }
    let mut queues = Vec::new();
    for _ in 0..4 {
        queues.push(bus.subscribe::<Note>("jobs", "done", SubscribeOptions::new())?);
    }
    let count = allocations(|number| {
        channel.post(Note(number)).expect("the bus is open");
        for worker in &workers {
            assert_eq!(worker.run_pending(), 1);
        }
        for queue in &mut queues {
            assert!(queue.try_recv().is_ok());
        }
    });
    assert_eq!(count, POSTS);
    Ok(())
}

/// The event lies in a place of the log that an earlier one left.
#[test]
fn a_post_to_queues_alone_allocates_nothing() -> Result<(), Box<dyn std::error::Error>> {
    let bus = WorkerEvents::builder().build()?;
    let channel = bus.declare::<Note>("jobs", "done")?;
    let mut queues = Vec::new();
    for _ in 0..4 {
        queues.push(bus.subscribe::<Note>("jobs", "done", SubscribeOptions::new())?);
    }
    let count = allocations(|number| {
        channel.post(Note(number)).expect("the bus is open");
        for queue in &mut queues {
            assert!(queue.try_recv().is_ok());
        }
    });
    assert_eq!(count, 0);
    Ok(())
}
