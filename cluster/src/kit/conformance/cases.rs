//! The cases.

// A reader of the log under test. Must not know a case.
mod reader;

// What the cases append. Must not know a case.
mod entries;

// Cases of losses and limits.
mod losing;

use std::sync::Arc;

use futures_util::future::{Either, FutureExt as _, select};
use tidings_core::{
    CacheKey,
    log::{Appended, Body, Eviction, EvictionTarget, Extent, GapReason, Posted, Wake},
};

use self::{
    entries::{append, append_many, event, id, posted, turns},
    losing::{
        a_listener_ends_while_it_waits, a_log_that_was_made_again_is_a_gap,
        a_slow_reader_holds_up_no_one_and_misses_nothing,
        lost_records_are_a_gap_for_those_that_had_not,
        lost_records_are_a_gap_for_those_that_had_read_them,
        the_largest_record_is_taken_and_a_larger_one_refused, the_same_entry_twice_is_two_records,
    },
    reader::{Page, Reader, ensure, failed, poll_once},
};
use super::{Case, Outcome, Subject};

macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        /// Returns every case with its name.
        pub(super) fn all<S: Subject>() -> Vec<(&'static str, Case<S>)> {
            vec![$((stringify!($name), |subject| Box::pin($name(subject)))),*]
        }
    };
}

cases![
    a_new_reader_begins_at_the_head,
    every_reader_gets_each_record_once_and_in_one_order,
    what_is_read_is_what_was_appended,
    pages_lose_nothing_and_repeat_nothing,
    a_reader_that_comes_back_goes_on_where_it_was,
    a_cursor_reads_the_same_again,
    a_cursor_covers_what_was_committed_before_it_and_nothing_else,
    a_reader_behind_what_was_forgotten_is_told,
    another_epoch_is_a_gap_and_never_an_empty_read,
    lost_records_are_a_gap_for_those_that_had_read_them,
    lost_records_are_a_gap_for_those_that_had_not,
    a_log_that_was_made_again_is_a_gap,
    the_same_entry_twice_is_two_records,
    the_largest_record_is_taken_and_a_larger_one_refused,
    a_slow_reader_holds_up_no_one_and_misses_nothing,
    a_listener_ends_while_it_waits,
    a_wake_up_reaches_other_listeners,
    a_call_that_is_dropped_loses_nothing,
];

async fn a_new_reader_begins_at_the_head<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    append(&*log, event(1, "before")).await?;
    let mut reader = Reader::at_head(subject.open()).await?;
    ensure(
        reader.all().await?.is_empty(),
        "it reads what was there before it",
    )?;

    append(&*log, event(2, "after")).await?;
    let read = reader.all().await?;
    ensure(
        read == [event(2, "after").into()],
        format!("it reads {read:?}"),
    )
}

async fn every_reader_gets_each_record_once_and_in_one_order<S: Subject>(subject: &S) -> Outcome {
    let (one, other) = (subject.open(), subject.open());
    let mut readers = [
        Reader::at_head(subject.open()).await?,
        Reader::at_head(subject.open()).await?,
    ];
    for number in 0..20 {
        let log = if number % 2 == 0 { &one } else { &other };
        append(&**log, event(number, "x")).await?;
    }

    let expected: Vec<Body> = (0..20).map(|number| event(number, "x").into()).collect();
    for reader in &mut readers {
        let read = reader.all().await?;
        ensure(read == expected, format!("it reads {read:?}"))?;
        ensure(reader.all().await?.is_empty(), "it reads the same twice")?;
    }
    Ok(())
}

async fn what_is_read_is_what_was_appended<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    let long = "\u{1f600}\\\"'\n\u{1}".repeat(8 << 10);
    let key = |parts: &[&str]| CacheKey::new("things", parts);
    let evict = |number, target| {
        let Posted { id, origin, .. } = posted(number, "");
        let cache = Arc::from("a cache: \u{e4}");
        Appended::Evict(Eviction {
            id,
            origin,
            cache,
            target,
        })
    };
    let given = [
        event(1, ""),
        event(2, &long),
        event(3, "null"),
        Appended::Event(Posted {
            origin: None,
            ..posted(4, "1.0")
        }),
        evict(5, EvictionTarget::All),
        evict(6, EvictionTarget::Tag("a tag, \u{e4}/'\"".into())),
        evict(
            7,
            EvictionTarget::Keys(vec![key(&["a:b", "\0", ""]), key(&[])]),
        ),
        evict(8, EvictionTarget::Keys(Vec::new())),
    ];
    for entry in &given {
        append(&*log, entry.clone()).await?;
    }

    let read = reader.all().await?;
    ensure(
        read.len() == given.len(),
        format!("{} of {} arrive", read.len(), given.len()),
    )?;

    for (read, given) in read.into_iter().zip(given) {
        let given = Body::from(given);
        ensure(read == given, format!("{given:?} arrives as {read:?}"))?;
    }

    Ok(())
}

async fn pages_lose_nothing_and_repeat_nothing<S: Subject>(subject: &S) -> Outcome {
    let mut whole = Reader::at_head(subject.open()).await?;
    let mut readers = Vec::new();
    for page in [1, 7, 1_000] {
        readers.push(Reader::at_head(subject.open()).await?.by_pages_of(page));
    }
    let count = subject.records() / 10;
    append_many(subject, count).await?;

    let expected = whole.all().await?;
    ensure(
        expected.len() == count,
        format!("{} of {count} are read", expected.len()),
    )?;

    for reader in &mut readers {
        let read = reader.all().await?;
        ensure(
            read == expected,
            format!("pages of {} differ", reader.limit()),
        )?;
    }

    Ok(())
}

async fn a_reader_that_comes_back_goes_on_where_it_was<S: Subject>(subject: &S) -> Outcome {
    let mut reader = Reader::at_head(subject.open()).await?.by_pages_of(100);
    let count = subject.records();
    append_many(subject, count).await?;

    let mut read = Vec::new();
    for until in [count / 3, count / 2, count] {
        while read.len() < until {
            match reader.page().await? {
                Page::Records(mut records, extent) => {
                    read.append(&mut records);
                    let ended = extent == Extent::All && read.len() < until;
                    ensure(!ended, format!("{} of {count} are read", read.len()))?;
                }
                Page::Gap(reason) => return Err(format!("a gap ({reason}) after {}", read.len())),
            }
        }

        // Its place is kept as text, and its link is gone.
        reader = reader.come_back(subject.open())?;
    }

    ensure(
        reader.all().await?.is_empty(),
        "it reads more than there is",
    )?;

    let mut ids: Vec<_> = read.iter().filter_map(id).collect();
    ids.sort_unstable();
    ids.dedup();
    ensure(
        ids.len() == count,
        format!("{} of {count} are read, each once", ids.len()),
    )
}

async fn a_cursor_reads_the_same_again<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let reader = Reader::at_head(subject.open()).await?;
    for number in 0..5 {
        append(&*log, event(number, "x")).await?;
    }

    let first = reader.clone().all().await?;
    let second = reader.clone().all().await?;
    ensure(
        first.len() == 5 && first == second,
        format!("{first:?}, then {second:?}"),
    )
}

async fn a_cursor_covers_what_was_committed_before_it_and_nothing_else<S: Subject>(
    subject: &S,
) -> Outcome {
    let log = subject.open();
    let before = append(&*log, event(1, "x")).await?;
    let mut reader = Reader::at_head(subject.open()).await?;
    let after = append(&*log, event(2, "x")).await?;
    ensure(before != after, "two commits have one mark")?;
    ensure(
        reader.covers(before),
        "the head does not cover what was acknowledged before it",
    )?;
    ensure(
        !reader.covers(after),
        "the head covers what was committed after it",
    )?;

    reader.all().await?;
    ensure(
        reader.covers(before) && reader.covers(after),
        "what was read is not covered",
    )
}

async fn a_reader_behind_what_was_forgotten_is_told<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut behind = Reader::at_head(subject.open()).await?;
    for number in 0..10 {
        append(&*log, event(number, "x")).await?;
    }
    let mut current = Reader::at_head(subject.open()).await?;
    subject.trim().await;

    let Page::Gap(reason) = behind.page().await? else {
        return Err("a reader that is behind gets no gap".to_owned());
    };

    ensure(
        reason == GapReason::Trimmed,
        format!("the reason of the gap is {reason}"),
    )?;
    append(&*log, event(10, "x")).await?;

    let read = current.all().await?;
    ensure(
        read == [event(10, "x").into()],
        format!("one at the head reads {read:?}"),
    )
}

async fn another_epoch_is_a_gap_and_never_an_empty_read<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    let old = append(&*log, event(1, "x")).await?;
    reader.all().await?;
    let mut idle = reader.clone();
    subject.end_epoch().await;

    let reason = loop {
        match idle.page().await {
            Ok(Page::Gap(reason)) => break reason,
            Ok(Page::Records(..)) => return Err("a cursor of before is followed".to_owned()),
            Err(_) => idle = idle.come_back(subject.open())?, // the link is gone, perhaps
        }
    };
    let ends = [GapReason::Epoch, GapReason::LostTail, GapReason::Recreated];
    ensure(
        ends.contains(&reason),
        format!("the reason of the gap is {reason}"),
    )?;

    let log = subject.open();
    let mut fresh = Reader::at_head(subject.open()).await?;
    ensure(fresh.epoch() != reader.epoch(), "the epoch has not changed")?;
    ensure(
        fresh.epoch().number > reader.epoch().number,
        "its number is not higher",
    )?;
    ensure(!fresh.covers(old), "a mark of before is covered")?;

    let new = append(&*log, event(2, "x")).await?;
    ensure(
        !reader.covers(new),
        "a cursor of before covers a mark of now",
    )?;
    let read = fresh.all().await?;
    ensure(read == [event(2, "x").into()], format!("it reads {read:?}"))
}

async fn a_wake_up_reaches_other_listeners<S: Subject>(subject: &S) -> Outcome {
    let (one, other) = (subject.open(), subject.open());
    let mut heard = other.listen().await.map_err(failed)?;
    let mut next = heard.next();

    // A wake-up may be lost, so it is sent again until it is received.
    loop {
        append(&*one, event(1, "x")).await?;
        one.wake(Wake::Look);
        match select(next, turns(100).boxed()).await {
            Either::Left((heard, _)) => return heard.map(drop).map_err(failed),
            Either::Right(((), waiting)) => next = waiting,
        }
    }
}

async fn a_call_that_is_dropped_loses_nothing<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    for number in 0..5 {
        append(&*log, event(number, "x")).await?;
        // It may be committed or not, but not twice.
        poll_once(log.append(event(100 + number, "x")));
        reader.begin_page();
    }

    // What follows a dropped call waits for it, so all that it did is there.
    append(&*log, event(5, "x")).await?;

    let read = reader.all().await?;
    let ids: Vec<_> = read.iter().filter_map(id).collect();
    for number in 0..6 {
        let times = ids
            .iter()
            .filter(|it| **it == posted(number, "").id)
            .count();
        ensure(times == 1, format!("record {number} is read {times} times"))?;
    }

    let mut once = ids.clone();
    once.sort_unstable();
    once.dedup();
    ensure(
        once.len() == ids.len(),
        "a record of a dropped call is read twice",
    )
}
