//! Reads a model's log: from a cursor, in either form.

use std::sync::Arc;

use tidings_core::log::{
    Batch, Cursor, Extent, Gap, GapReason, Place, Position, Read, Record, Sight, Snapshot, Step,
};

use super::{Entry, Form, State};
use crate::faults::{Rule, removed};

impl State {
    pub(super) fn snapshot(&self) -> Snapshot {
        let open = self.open.values().map(|open| open.xid).collect();
        Snapshot::new(self.next_number, open)
    }

    pub(super) fn head(&self, form: Form) -> Cursor {
        match form {
            Form::Counted => self.after(self.next_number.saturating_sub(1)),
            Form::Snapshot => Cursor::at_snapshot(self.epoch, self.snapshot()),
        }
    }

    /// Returns the cursor after a number of a counted log.
    fn after(&self, number: u64) -> Cursor {
        let id = self.ids.get(&number).copied().unwrap_or_default();
        Cursor::numbered(self.epoch, number, id)
    }

    pub(super) fn read(&mut self, form: Form, from: &Cursor, limit: usize, sight: Sight) -> Read {
        let gap = |reason| Read::Gap(Gap::of_all(reason));
        if from.epoch() != self.epoch && !removed(Rule::EpochIsChecked) {
            return gap(GapReason::Epoch);
        }

        let (low, applied) = match from.position() {
            Position::Counted(last) | Position::Numbered { last, .. } => (last + 1, None),
            Position::Snapshot(applied) | Position::Page { applied, .. } => {
                (applied.xmin(), Some(applied))
            }
        };

        let needs = match form {
            Form::Counted => self.pruned_below + 1,
            Form::Snapshot => self.pruned_below,
        };
        if low < needs && !removed(Rule::PruningIsChecked) {
            return gap(GapReason::Trimmed);
        }
        if let Position::Numbered { last, id } = from.position()
            && form == Form::Counted
            && self.ids.get(last) != Some(id)
        {
            // This reader had read what is gone, and is the first to notice.
            if from.epoch() == self.epoch {
                self.begin_epoch();
            }
            return gap(GapReason::LostTail);
        }

        match (form, applied) {
            (Form::Counted, None) => self.read_counted(low, limit, sight),
            (Form::Snapshot, Some(applied)) => self.read_snapshot(from, applied, limit, sight),
            // A cursor of the other form is not one of this log's.
            (Form::Counted, Some(_)) | (Form::Snapshot, None) => gap(GapReason::Recreated),
        }
    }

    fn read_counted(&self, low: u64, limit: usize, sight: Sight) -> Read {
        let mut left = self.log.iter().filter(|entry| entry.id >= low).peekable();
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(entry) = left.next()
        {
            records.push(self.record(entry, self.after(entry.id)));
        }

        let (cursor, extent) = match (left.peek(), records.last()) {
            (Some(_), Some(last)) => (last.place.0.clone(), Extent::More),
            _ => (self.head(Form::Counted), Extent::All),
        };
        let trail = records.iter().filter_map(|record| step(&record.place.0));
        let trail = trail.collect();
        Read::Batch(Batch {
            records,
            passed_over: 0,
            trail,
            cursor,
            extent,
            sight,
        })
    }

    fn read_snapshot(
        &self,
        from: &Cursor,
        applied: &Arc<Snapshot>,
        limit: usize,
        sight: Sight,
    ) -> Read {
        let now = Arc::new(self.snapshot());
        let (target, after) = match from.position() {
            Position::Page { target, last, .. } => (Arc::clone(target), *last),
            Position::Counted(_) | Position::Numbered { .. } | Position::Snapshot(_) => {
                (Arc::clone(&now), 0)
            }
        };
        let is_new = |entry: &&Entry| {
            entry.id > after && !applied.is_over(entry.mark) && target.is_over(entry.mark)
        };
        let page = |last| Position::Page {
            applied: Arc::clone(applied),
            target: Arc::clone(&target),
            last,
        };

        let mut left = self.log.iter().filter(is_new).peekable();
        let mut records = Vec::new();
        while records.len() < limit
            && let Some(entry) = left.next()
        {
            records.push(self.record(entry, Cursor::new(self.epoch, page(entry.id))));
        }

        let cursor = match (left.peek(), records.last()) {
            (Some(_), Some(last)) => last.place.0.clone(),
            _ => Cursor::new(self.epoch, Position::Snapshot(Arc::clone(&target))),
        };
        let extent = match cursor.position() {
            Position::Snapshot(read) if *read == now => Extent::All,
            Position::Snapshot(_)
            | Position::Page { .. }
            | Position::Counted(_)
            | Position::Numbered { .. } => Extent::More,
        };
        Read::Batch(Batch {
            records,
            passed_over: 0,
            trail: Vec::new(),
            cursor,
            extent,
            sight,
        })
    }

    fn record(&self, entry: &Entry, after: Cursor) -> Record {
        Record {
            place: Place(after),
            mark: self.mark(entry.mark),
            origin: entry.origin.clone(),
            body: entry.body.clone(),
        }
    }
}

/// Returns the record at a cursor of a counted log.
fn step(cursor: &Cursor) -> Option<Step> {
    match *cursor.position() {
        Position::Numbered { last: number, id } => Some(Step { number, id }),
        Position::Counted(_) | Position::Snapshot(_) | Position::Page { .. } => None,
    }
}
