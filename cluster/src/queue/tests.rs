//! What is told of a queue, at its own level.

use std::sync::Arc;

use tidings_core::{
    clock::ManualClock,
    log::{Body, Epoch, GapReason, Mark, Place, Record},
};
use uuid::Uuid;

use super::*;
use crate::gate::Gate;

fn epoch() -> Epoch {
    Epoch::new(1, Uuid::nil())
}

fn batch(numbers: std::ops::RangeInclusive<u64>) -> Applied {
    let cursor = Cursor::counted(epoch(), *numbers.end());
    let record = |number| Record {
        place: Place(Cursor::counted(epoch(), number)),
        mark: Mark::new(epoch(), number),
        origin: None,
        body: Body::Entity("consumers".into()),
    };
    Applied {
        records: numbers.map(|number| (record(number), 0)).collect(),
        pages: Pages::Whole,
        cursor,
        after: After {
            generation: Gate::new(Arc::new(ManualClock::new()), None).generation(),
            proof: None,
            resume: false,
            demand: None,
        },
    }
}

fn next(queue: &Queue) -> Option<Item> {
    use futures_util::FutureExt;
    queue.next().now_or_never()
}

#[test]
fn what_does_not_fit_is_read_from_the_log_again_and_then_the_queue_is_used_again() {
    let queue = Queue::new(3);
    queue.restart(Cursor::counted(epoch(), 0), None);
    assert_eq!(queue.push(batch(1..=2)), Held::InMemory);
    assert_eq!(queue.push(batch(3..=4)), Held::InLog);
    assert_eq!(queue.push(batch(5..=5)), Held::InLog);

    assert!(matches!(next(&queue), Some(Item::Head { .. })));
    assert!(matches!(next(&queue), Some(Item::Batch(_))));
    let from = Cursor::counted(epoch(), 2);
    let episode = match next(&queue) {
        Some(Item::Behind(cursor, episode)) if cursor == from => episode,
        other => panic!("{other:?}"),
    };

    let before = queue.pushed();
    queue.push(batch(6..=6));
    let read = Cursor::counted(epoch(), 5);
    assert!(matches!(
        queue.caught_up(episode, &read, before),
        CaughtUp::NotYet
    ));
    let (before, read) = (queue.pushed(), Cursor::counted(epoch(), 7));
    assert!(matches!(
        queue.caught_up(episode, &read, before),
        CaughtUp::Here(Some(_))
    ));

    // The tail comes to what the dispatcher has read by itself.
    assert_eq!(queue.push(batch(7..=8)), Held::InMemory);
    match next(&queue) {
        Some(Item::Batch(batch)) => assert_eq!(batch.records.len(), 1),
        other => panic!("{other:?}"),
    }
}

fn gap(entity: &str) -> Gap {
    Gap::of_entity(GapReason::Capture, entity)
}

/// How many items wait.
fn length(queue: &Queue) -> usize {
    queue.state.lock().items.len()
}

#[test]
fn positions_and_gaps_without_changes_are_folded_while_the_dispatcher_is_held_up() {
    let queue = Queue::new(3);
    queue.restart(Cursor::counted(epoch(), 0), None);
    queue.push(batch(1..=2));
    let position = |last: u64| Applied {
        records: Vec::new(),
        ..batch(last..=last)
    };
    for number in 2..1_000 {
        queue.push(position(number));
        queue.gap(gap("consumers"));
    }
    assert_eq!(length(&queue), 4);

    assert!(matches!(next(&queue), Some(Item::Head { gap: None, .. })));
    let Some(Item::Batch(first)) = next(&queue) else {
        panic!("the changes come first");
    };
    assert_eq!(
        (first.records.len(), first.cursor),
        (2, Cursor::counted(epoch(), 2))
    );
    assert!(matches!(next(&queue), Some(Item::Gap(told)) if told == gap("consumers")));
    let Some(Item::Batch(last)) = next(&queue) else {
        panic!("the position comes last");
    };
    assert_eq!(last.cursor, Cursor::counted(epoch(), 999));
}

#[test]
fn cursors_that_follow_each_other_become_the_last_with_what_all_of_them_have_lost() {
    let queue = Queue::new(3);
    for number in 1..1_000 {
        queue.gap(gap("consumers"));
        queue.restart(Cursor::counted(epoch(), number), Some(gap("credentials")));
        queue.push(Applied {
            records: Vec::new(),
            ..batch(number..=number)
        });
    }
    assert_eq!(length(&queue), 2);
    let all = Gap::of_all(GapReason::Capture);
    let head = next(&queue);
    let Some(Item::Head {
        cursor,
        gap: Some(told),
    }) = head
    else {
        panic!("{head:?}");
    };
    assert_eq!((cursor, told), (Cursor::counted(epoch(), 999), all));
}

#[test]
fn an_empty_batch_fits_behind_one_that_is_larger_than_the_queue() {
    let queue = Queue::new(1);
    queue.restart(Cursor::counted(epoch(), 0), None);
    assert_eq!(queue.push(batch(1..=9)), Held::InMemory);
    let empty = Applied {
        records: Vec::new(),
        ..batch(10..=10)
    };
    assert_eq!(queue.push(empty), Held::InMemory);
}

#[test]
fn a_new_cursor_ends_what_was_to_be_read_again_and_not_what_comes_after_it() {
    let queue = Queue::new(1);
    queue.restart(Cursor::counted(epoch(), 0), None);
    queue.push(batch(1..=1));
    queue.push(batch(2..=2));
    assert!(matches!(next(&queue), Some(Item::Head { .. })));
    assert!(matches!(next(&queue), Some(Item::Batch(_))));
    let Some(Item::Behind(_, ended)) = next(&queue) else {
        panic!("the second batch does not fit");
    };

    // While the dispatcher reads, the tail takes a new cursor and gets ahead again.
    queue.restart(Cursor::counted(epoch(), 9), None);
    assert_eq!(queue.push(batch(10..=10)), Held::InMemory);
    assert_eq!(queue.push(batch(11..=11)), Held::InLog);
    let read = Cursor::counted(epoch(), 11);
    let caught_up = queue.caught_up(ended, &read, queue.pushed());
    assert!(matches!(caught_up, CaughtUp::Restarted), "{caught_up:?}");
    assert!(queue.skip(ended).is_none());

    assert!(matches!(next(&queue), Some(Item::Head { .. })));
    assert!(matches!(next(&queue), Some(Item::Batch(_))));
    let Some(Item::Behind(_, episode)) = next(&queue) else {
        panic!("the last batch is still to be read");
    };
    let caught_up = queue.caught_up(episode, &read, queue.pushed());
    assert!(matches!(caught_up, CaughtUp::Here(_)), "{caught_up:?}");
}
