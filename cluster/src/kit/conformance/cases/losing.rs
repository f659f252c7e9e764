//! Losses and limits: the newest records are lost, or all of them; a reader is slow; a record is
//! too large.

use tidings_core::log::{Body, LogError, Wake};

use super::{
    entries::{append, append_many, event, turns},
    reader::{Page, Reader, ensure, failed, poll_once},
};
use crate::kit::conformance::{Outcome, Subject};

pub(super) async fn lost_records_are_a_gap_for_those_that_had_read_them<S: Subject>(
    subject: &S,
) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    append(&*log, event(1, "x")).await?;
    append(&*log, event(2, "x")).await?;
    reader.all().await?;
    if !subject.lose_newest(1).await {
        return Ok(());
    }
    expect_gap(subject, reader).await
}

pub(super) async fn lost_records_are_a_gap_for_those_that_had_not<S: Subject>(
    subject: &S,
) -> Outcome {
    let log = subject.open();
    let reader = Reader::at_head(subject.open()).await?;
    append(&*log, event(1, "x")).await?;
    append(&*log, event(2, "x")).await?;
    if !subject.lose_newest(1).await {
        return Ok(());
    }

    // The node that had appended them notices, whatever it does next.
    let mut again = append(&*log, event(3, "x")).await;
    while again.is_err() {
        turns(100).await;
        again = append(&*log, event(3, "x")).await; // its link is gone, perhaps
    }
    expect_gap(subject, reader).await
}

pub(super) async fn a_log_that_was_made_again_is_a_gap<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    append(&*log, event(1, "x")).await?;
    reader.all().await?;
    if !subject.recreate().await {
        return Ok(());
    }

    // As many records as there were, and more, by a node that did not see the earlier ones.
    let other = subject.open();
    for number in 0..5 {
        append(&*other, event(10 + number, "x")).await?;
    }
    expect_gap(subject, reader).await
}

/// Expects that a reader gets a gap, and that one at the head is in another epoch.
async fn expect_gap<S: Subject>(subject: &S, mut reader: Reader) -> Outcome {
    let before = reader.epoch();
    let mut failed = 0;
    loop {
        match reader.page().await {
            Ok(Page::Gap(_)) => break,
            Ok(Page::Records(..)) => return Err("it is followed without a gap".to_owned()),
            Err(error) if failed == 1_000 => return Err(error),
            // Its connection is gone, perhaps. It knows what it has read, so it is the one to ask.
            Err(_) => {
                failed += 1;
                turns(100).await;
            }
        }
    }

    let fresh = Reader::at_head(subject.open()).await?;
    ensure(
        fresh.epoch().number > before.number,
        "the epoch is not a later one",
    )
}

pub(super) async fn the_same_entry_twice_is_two_records<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    let one = append(&*log, event(1, "x")).await?;
    let other = append(&*log, event(1, "x")).await?;
    ensure(one != other, "both have one mark")?;
    let read = reader.all().await?;
    let expected: [Body; 2] = [event(1, "x").into(), event(1, "x").into()];
    ensure(read == expected, format!("it reads {read:?}"))
}

pub(super) async fn the_largest_record_is_taken_and_a_larger_one_refused<S: Subject>(
    subject: &S,
) -> Outcome {
    let Some(largest) = subject.largest() else {
        return Ok(());
    };

    let log = subject.open();
    let mut reader = Reader::at_head(subject.open()).await?;
    let refused = log.append(event(1, &"x".repeat(largest + 1))).await;
    let Err(LogError::TooLarge { size, limit }) = refused else {
        return Err(format!("a record beyond the limit: {refused:?}"));
    };

    ensure(
        size > limit && limit == largest,
        format!("{size} bytes are refused for a limit of {limit}"),
    )?;

    // The refusal shows how much the record takes beside the payload.
    let around = size - (largest + 1);
    let payload = "x".repeat(largest - around);
    append(&*log, event(2, &payload)).await?;

    let one_more = log.append(event(3, &format!("{payload}x"))).await;
    ensure(
        matches!(one_more, Err(LogError::TooLarge { .. })),
        "one byte more is not refused",
    )?;
    append(&*log, event(4, "")).await?;

    let read = reader.all().await?;
    let expected: [Body; 2] = [event(2, &payload).into(), event(4, "").into()];
    ensure(read == expected, format!("{} are read", read.len()))
}

pub(super) async fn a_slow_reader_holds_up_no_one_and_misses_nothing<S: Subject>(
    subject: &S,
) -> Outcome {
    let mut slow = Reader::at_head(subject.open()).await?.by_pages_of(1);
    let mut fast = Reader::at_head(subject.open()).await?;
    let _listens = subject.open().listen().await.map_err(failed)?; // and never asks
    let count = subject.records() / 10;
    let (mut read, mut heard) = (0, 0);

    for _ in 0..4 {
        append_many(subject, count / 4).await?;
        heard += fast.all().await?.len();
        match slow.page().await? {
            Page::Records(records, _) => read += records.len(),
            Page::Gap(reason) => return Err(format!("a gap ({reason})")),
        }
    }

    let all = count / 4 * 4;
    ensure(heard == all, format!("{heard} of {all} are read"))?;
    read += slow.by_pages_of(1_000).all().await?.len();
    ensure(read == all, format!("{read} of {all} are read slowly"))
}

pub(super) async fn a_listener_ends_while_it_waits<S: Subject>(subject: &S) -> Outcome {
    let log = subject.open();
    for _ in 0..3 {
        let mut heard = log.listen().await.map_err(failed)?;
        poll_once(heard.next());
        drop(heard);
    }

    // The log goes on, and so does a listener beside it.
    let mut heard = log.listen().await.map_err(failed)?;
    append(&*log, event(1, "x")).await?;
    subject.open().wake(Wake::Look);
    drop(log);
    drop(heard.next());
    Ok(())
}
