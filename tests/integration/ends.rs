//! What is left of a node that ends late.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings::{Node, Store, core::clock::ManualClock};

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_a_worker_has_not_ended_by_the_deadline_is_dropped() {
    let clock = ManualClock::new();
    let (held, dropped) = tokio::sync::oneshot::channel::<()>();
    let held = Mutex::new(Some(held));
    let store = Store::open("sqlite::memory:").await;
    let node = Node::builder()
        .store(store.expect("memory opens"))
        .workers(1)
        .clock(Arc::new(clock.clone()))
        .init_worker(move |worker| {
            let held = held.lock().expect("an option").take();
            worker.spawn_local(async move {
                let _held = held;
                std::future::pending::<()>().await;
            });
            Ok(())
        })
        .start()
        .await
        .expect("a node");

    let (report, ()) = tokio::join!(node.shutdown(LONG), async { clock.advance(LONG) });
    assert_eq!(report.workers_left, 1, "{report:?}");
    let dropped = tokio::time::timeout(LONG, dropped).await;
    dropped.expect("it is dropped").expect_err("with its task");
}
