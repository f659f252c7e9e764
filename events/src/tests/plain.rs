//! Waiting on threads that have no tokio runtime, with the machine's clock.

use std::time::Duration;

use super::{Note, bus, notes, within};
use crate::{Handled, Overflow, Refusal, SubscribeOptions, thread::park::block_on};

#[test]
fn a_post_that_waits_for_room_ends_at_its_deadline_on_a_plain_thread() {
    within(|| {
        let bus = bus(0);
        let channel = notes(&bus);
        let options = SubscribeOptions::new().capacity(1).overflow(Overflow::Wait);
        let _full = bus
            .subscribe::<Note>("jobs", "done", options)
            .expect("declared");
        channel.post(Note(1)).expect("room");
        let refused = channel.post_blocking(Note(2), Duration::from_millis(1));
        let refusal = refused.expect_err("still full").refusal;
        assert!(matches!(refusal, Refusal::Full { .. }), "{refusal}");
    });
}

#[test]
fn a_delivery_and_a_shutdown_end_at_their_deadline_on_a_plain_thread() {
    within(|| {
        let bus = bus(1);
        let channel = notes(&bus);
        let worker = bus.attach_worker(0).expect("free");
        worker
            .register(|_: &Note| (), "jobs", "done")
            .expect("declared")
            .keep();
        let delivery = block_on(channel.post_async(Note(1), Duration::ZERO)).expect("open");
        let handled = block_on(delivery.handled(Duration::from_millis(1)));
        assert!(matches!(handled, Handled::Late(_)), "{handled:?}");
        let report = block_on(bus.shutdown(Duration::from_millis(1)));
        assert_eq!(report.late, [0]);
    });
}
