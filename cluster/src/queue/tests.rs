//! Tests of a queue by itself.

use std::sync::Arc;

use tidings_core::{
    clock::{ManualClock, Tick},
    log::{Body, Demand, Epoch, GapReason, Incarnation, Mark, Place, Record},
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
            asked: None,
            pass: None,
        },
    }
}

fn queue_of(records: usize) -> Queue {
    Queue::new(Room {
        records,
        bytes: None,
    })
}

fn next(queue: &Queue) -> Option<Item> {
    use futures_util::FutureExt;
    queue.next().now_or_never()
}

/// A question to the log may be answered after a later one, and ask for less.
#[test]
fn of_two_batches_the_later_proof_and_the_higher_demand_follow() {
    let queue = queue_of(3);
    queue.restart(Cursor::counted(epoch(), 0), None);
    let asked = |of, demand| Asked {
        of: Incarnation(of),
        demand: Demand(demand),
    };
    let push = |mut batch: Applied, proof, asked| {
        batch.after.proof = proof;
        batch.after.asked = asked;
        queue.push(batch)
    };
    let nothing_new = || Applied {
        records: Vec::new(),
        ..batch(1..=1)
    };
    let held = [
        push(batch(1..=1), Some(Tick(5)), Some(asked(1, 3))),
        push(nothing_new(), None, Some(asked(1, 1))),
        push(nothing_new(), Some(Tick(4)), None),
    ];
    assert_eq!(held, [Held::InMemory; 3]);

    assert!(matches!(next(&queue), Some(Item::Head { .. })));
    let Some(Item::Batch(Applied { after, .. })) = next(&queue) else {
        panic!("one batch");
    };
    assert_eq!(
        (after.proof, after.asked),
        (Some(Tick(5)), Some(asked(1, 3)))
    );
}

#[test]
fn what_does_not_fit_is_read_from_the_log_again_and_then_the_queue_is_used_again() {
    let queue = queue_of(3);
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

/// Returns how many items wait.
fn length(queue: &Queue) -> usize {
    queue.state.lock().items.len()
}

#[test]
fn positions_and_gaps_without_changes_are_folded_while_the_dispatcher_is_held_up() {
    let queue = queue_of(3);
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
    let queue = queue_of(3);
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
    let queue = queue_of(1);
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
    let queue = queue_of(1);
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

#[test]
fn records_are_bounded_in_bytes_too() {
    let weight = batch(1..=1).records[0].0.weight();
    let queue = Queue::new(Room {
        records: 100,
        bytes: Some(3 * weight),
    });
    queue.restart(Cursor::counted(epoch(), 0), None);
    assert_eq!(queue.push(batch(1..=9)), Held::InMemory); // one batch always fits
    assert_eq!(queue.push(batch(10..=10)), Held::InLog);

    queue.restart(Cursor::counted(epoch(), 10), None);
    while next(&queue).is_some() {}
    assert_eq!(queue.push(batch(11..=12)), Held::InMemory);
    assert_eq!(queue.push(batch(13..=13)), Held::InMemory);
    assert_eq!(queue.push(batch(14..=14)), Held::InLog);
    assert_eq!(queue.state.lock().bytes, 3 * weight);
}

#[test]
fn gaps_and_changes_that_find_no_room_are_folded_while_nothing_is_taken() {
    let queue = queue_of(1);
    queue.restart(Cursor::counted(epoch(), 0), None);
    for number in 1..1_000 {
        queue.push(batch(number..=number));
        queue.gap(gap("consumers"));
        if number % 100 == 0 {
            let cursor = Cursor::counted(epoch(), number);
            queue.restart(cursor, Some(gap("credentials")));
        }
    }
    assert_eq!(length(&queue), 5); // head, batch, head, what is behind, gap
    assert_eq!(queue.records(), 1);
}

#[test]
fn what_is_cleared_is_neither_told_nor_read_again_and_what_comes_next_is_held() {
    let queue = queue_of(1);
    queue.push(batch(1..=1));
    queue.push(batch(2..=2));
    assert!(matches!(next(&queue), Some(Item::Batch(_))));
    let Some(Item::Behind(_, episode)) = next(&queue) else {
        panic!("the second batch does not fit");
    };
    let before = queue.pushed();
    queue.clear();
    assert!(!queue.is_behind(episode) && next(&queue).is_none());
    let read = Cursor::counted(epoch(), 2);
    let caught_up = queue.caught_up(episode, &read, before);
    assert!(matches!(caught_up, CaughtUp::Restarted), "{caught_up:?}");

    assert_eq!(queue.push(batch(7..=9)), Held::InMemory);
    assert!(matches!(next(&queue), Some(Item::Batch(it)) if it.records.len() == 3));
}
