//! Which records are kept, how many, and what is returned of them.

use tidings_core::{
    Operation,
    log::{Epoch, GapReason, Mark},
};

use super::{super::ChangedRow, *};

/// Returns the recorder of a cache for which the most is kept.
fn largest() -> Recorder {
    Recorder::new(1 << 30)
}

#[test]
fn the_newest_records_of_a_key_are_kept_and_the_rest_is_bounded() {
    let recorder = largest();
    let key = 7 << 40;
    for number in 0..1_000 {
        let kind = RecordKind::Expired;
        recorder.record(key, Moment(number), Number(number), None, kind.clone());
        recorder.record(key + 1, Moment(number), Number(number), None, kind);
        recorder.record_all(3, Moment(number), Number(number), None);
    }
    let (own, wide) = recorder.of(key, 3);
    assert_eq!(
        (own.len(), wide.len()),
        (RECORDS_PER_SHARD / 2, CACHE_RECORDS)
    );
    assert_eq!((own[0].number, wide[0].number), (Number(999), Number(999)));
    assert_eq!(recorder.size().0, RECORDS_PER_SHARD + CACHE_RECORDS);
    assert!(recorder.of(8 << 40, 4).0.is_empty());

    let (before, bytes) = recorder.size();
    for number in 0..1_000 {
        recorder.record(key, Moment(0), Number(number), None, RecordKind::Space);
    }
    assert_eq!(recorder.size(), (before, bytes));
}

#[test]
fn an_eviction_before_its_record_was_read_is_recorded_once_with_the_row() {
    let recorder = largest();
    let mark = |number| Some(Mark::new(Epoch::new(1, Default::default()), number));
    let of = |mark, rows: &[&str]| {
        let row = |id: &&str| ChangedRow::new("keys", Operation::Update, (**id).into());
        Reason::Change {
            rows: rows.iter().map(row).collect(),
            node: None,
            place: None,
            mark,
        }
    };
    let record = |at, mark, rows: &[&str], held| {
        let _due_to = of(mark, rows).enter();
        let kind = RecordKind::Invalidated { held, voided: 1 };
        recorder.record(7, Moment(at), Number(at), None, kind);
    };
    let again = |at, mark| {
        let _due_to = of(mark, &["row"]).enter();
        recorder.record_again(7, Moment(at), None);
    };
    record(1, mark(1), &[], true);
    recorder.record(7, Moment(2), Number(2), None, RecordKind::Space);
    again(3, mark(1));
    again(3, mark(1));
    again(3, mark(2));
    // Of another commit, and of unknown ones.
    record(4, mark(2), &["row"], false);
    record(5, None, &[], false);
    record(6, None, &["row"], false);

    let merged = recorder.of(7, 0).0;
    let at: Vec<_> = merged.iter().map(|record| record.at.0).collect();
    assert_eq!(at, [6, 5, 4, 2, 1]);
    let last = &merged[4];
    assert!(
        matches!(
            last.kind,
            RecordKind::Invalidated {
                held: true,
                voided: 1
            }
        ),
        "{last:?}"
    );
    let Some(Reason::Change { rows, .. }) = last.reason.as_deref() else {
        panic!("{last:?}");
    };
    assert_eq!(rows.len(), 1);
}

#[test]
fn a_cause_is_found_by_its_number_and_learns_of_its_handlers() {
    let recorder = largest();
    recorder.cause(Number(1)); // nothing was said
    let due = Reason::Gap(GapReason::Epoch).enter();
    for number in 2..CAUSES as u64 + 3 {
        recorder.cause(Number(number));
    }
    drop(due);
    recorder.handled(Number(5), Handlers::Everywhere);
    recorder.handled(Number(1), Handlers::Late);
    assert!(recorder.of_cause(Number(1)).0.is_none());
    assert!(recorder.of_cause(Number(2)).0.is_none(), "it made room");
    let (reason, handlers) = recorder.of_cause(Number(5));
    assert!(reason.is_some() && handlers == Some(Handlers::Everywhere));
    assert_eq!(recorder.of_cause(Number(6)).1, None);
}

#[test]
fn the_memory_of_a_recorder_follows_the_capacity() {
    for capacity in [64 << 10, 1 << 20, 16 << 20, 64 << 20, 1 << 30, u64::MAX] {
        let recorder = Recorder::new(capacity);
        let empty = recorder.size().1;
        assert!(
            empty <= 8 << 10,
            "{capacity}: {empty} before there is a record"
        );

        let bound = (capacity / 50).clamp(8 << 10, 1_200 << 10) as usize;
        let mut most = 0;
        for number in 0..30_000_u64 {
            // By turns without a reason, with one of its own, and with one that is long.
            let rows = (number % 7 * 3) as usize;
            let row = || ChangedRow::new("keys", Operation::Update, "x".repeat(rows * 9).into());
            let reason = Reason::Change {
                rows: (0..rows).map(|_| row()).collect(),
                node: None,
                place: None,
                mark: None,
            };
            let due_to = (number % 3 > 0).then(|| reason.enter());
            let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let tag = RecordKind::Tagged("t".repeat(200).into());
            recorder.record(key, Moment(number), Number(number), None, tag);
            recorder.record_all(1, Moment(number), Number(number), None);
            recorder.cause(Number(number));
            drop(due_to);
            if number % 16 == 0 {
                most = most.max(recorder.size().1);
            }
        }
        assert!(most <= bound, "{capacity}: {most} of {bound}");
        assert!(
            most >= bound / 3,
            "{capacity}: {most} of {bound}, which is little"
        );
    }
}
