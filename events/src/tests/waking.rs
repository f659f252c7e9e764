//! Who sleeps on a queue is woken, once.

use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use super::{Note, bus};
use crate::{Overflow, SubscribeOptions, Subscriber};

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn everybody_who_sleeps_is_woken_once_by_a_post_or_a_batch_or_the_end() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest, Overflow::Error] {
        let bus = bus(0);
        let channel = bus.declare::<Note>("jobs", "done").expect("free");
        let mut sleepers: Vec<_> = (0..2)
            .map(|_| {
                let queue = bus.subscribe::<Note>(
                    "jobs",
                    "done",
                    SubscribeOptions::new().capacity(8).overflow(overflow),
                );
                (queue.expect("declared"), Arc::new(Bell::default()))
            })
            .collect();
        let sleep = |sleepers: &mut Vec<(Subscriber<Note>, Arc<Bell>)>| {
            for (queue, bell) in sleepers {
                let waker = Waker::from(Arc::clone(bell));
                let mut context = Context::from_waker(&waker);
                while queue.poll_recv(&mut context).is_ready() {}
            }
        };
        let rung = |sleepers: &[(Subscriber<Note>, Arc<Bell>)]| -> Vec<_> {
            let bells = sleepers.iter().map(|(_, bell)| bell);
            bells.map(|bell| bell.0.load(Ordering::SeqCst)).collect()
        };
        sleep(&mut sleepers);
        // The first by the route, the others right into the log where there is one.
        for round in 1..=3 {
            channel.post(Note(1)).expect("room");
            channel.post(Note(2)).expect("room");
            assert_eq!(rung(&sleepers), [round, round], "{overflow:?}");
            sleep(&mut sleepers);
        }
        channel
            .post_batch(vec![Note(1), Note(2), Note(3)])
            .expect("room");
        assert_eq!(rung(&sleepers), [4, 4], "{overflow:?}");
        sleep(&mut sleepers);
        let mut context = Context::from_waker(Waker::noop());
        let end = pin!(bus.shutdown(Duration::ZERO)).poll(&mut context);
        assert!(end.is_ready());
        assert_eq!(rung(&sleepers), [5, 5], "{overflow:?}");
    }
}
