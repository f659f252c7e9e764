//! A worker's loop: it sleeps, is woken, and ends with the bus.

use std::time::Duration;

use super::{Journal, Note, bus, notes};

#[tokio::test]
async fn run_wakes_for_posts_from_other_threads_and_ends_with_the_bus() {
    let bus = bus(1);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    worker
        .register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    let poster = async {
        tokio::task::spawn_blocking(move || {
            for number in 0..1000 {
                channel.post(Note(number)).expect("open");
            }
        })
        .await
        .expect("no panic");
        bus.shutdown(Duration::from_secs(60)).await
    };
    let ((), report) = tokio::join!(worker.run(), poster);
    assert!(report.drained, "{report:?}");
    assert_eq!(journal.read(), (0..1000).collect::<Vec<_>>());
}

/// Enough turns of this thread's other tasks to look for mail in vain and fall asleep, or to wake
/// up and handle.
async fn turns() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Each time, for a waker serves once; by the task that runs it now, and also at the end.
#[tokio::test]
async fn a_worker_that_sleeps_is_woken_by_a_post_and_by_the_end() {
    let bus = bus(2);
    let channel = notes(&bus);
    let worker = bus.attach_worker(0).expect("free");
    let journal = Journal::<u64>::new();
    let heard = journal.clone();
    worker
        .register(move |note: &Note| heard.write(note.0), "jobs", "done")
        .expect("declared")
        .keep();
    // Holds the shutdown up.
    let slow = bus.attach_worker(1).expect("free");
    slow.register(|_: &Note| (), "jobs", "done")
        .expect("declared")
        .keep();
    let test = async {
        for task in 0..2 {
            let worker = worker.clone();
            // A task of its own: a future that shares its task would poll it by chance.
            let running = tokio::task::spawn_local(async move { worker.run().await });
            for number in 0..3 {
                turns().await;
                channel.post(Note(number)).expect("open");
                turns().await;
                assert_eq!(journal.read().len() as u64, 3 * task + number + 1);
            }
            if task == 0 {
                running.abort();
                let _aborted = running.await;
                continue;
            }
            let others = async {
                turns().await;
                assert!(running.is_finished(), "told of the end");
                assert_eq!(slow.run_pending(), 6);
            };
            let (report, ()) = tokio::join!(bus.shutdown(Duration::from_secs(60)), others);
            assert!(report.drained, "{report:?}");
        }
    };
    tokio::task::LocalSet::new().run_until(test).await;
}
