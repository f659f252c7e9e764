//! The cases.

mod reader;

use std::sync::Arc;

use futures_util::future::{Either, FutureExt as _, select, try_join_all};
use tidings_core::{
    CacheKey,
    entropy::{Entropy as _, SeededEntropy},
    log::{
        Appended, Body, Eviction, EvictionTarget, Extent, GapReason, Log, LogError, Mark, Posted,
        Wake,
    },
};

use self::reader::{Page, Reader, ensure, failed};
use super::{Case, Outcome, Subject};

/// How many appends run at once where many are made.
const AT_ONCE: usize = 8;

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
        return Err("a reader that is behind hears of no gap".to_owned());
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
    // One may be lost, so it is given again until it is heard.
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

/// Makes the event of a number; what it holds follows from the number.
fn event(number: u64, payload: &str) -> Appended {
    Appended::Event(posted(number, payload))
}

fn posted(number: u64, payload: &str) -> Posted {
    Posted {
        id: SeededEntropy::new(number).uuid(),
        origin: Some("a".into()),
        source: "suite".into(),
        event: "happened".into(),
        payload: payload.into(),
    }
}

fn id(body: &Body) -> Option<uuid::Uuid> {
    match body {
        Body::Event(posted) => Some(posted.id),
        _ => None,
    }
}

async fn append(log: &dyn Log, entry: Appended) -> Result<Mark, String> {
    let appended = log.append(entry).await;
    appended.map_err(|error: LogError| failed(error))
}

/// Appends many, several at once over as many links.
async fn append_many<S: Subject>(subject: &S, count: usize) -> Outcome {
    let count = count as u64;
    let links = (0..AT_ONCE as u64).map(|link| {
        let log = subject.open();
        async move {
            for number in (link..count).step_by(AT_ONCE) {
                append(&*log, event(number, "x")).await?;
            }
            Ok::<(), String>(())
        }
    });
    try_join_all(links).await?;
    Ok(())
}

/// Lets other tasks run for some turns.
async fn turns(count: usize) {
    for _ in 0..count {
        crate::turn::turn().await;
    }
}

/// Polls a future once, and drops it.
fn poll_once<F: Future + Unpin>(mut future: F) {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let _ = std::pin::Pin::new(&mut future).poll(&mut context);
}
