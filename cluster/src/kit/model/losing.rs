//! Loses commits: by ending the epoch, as a crash does, or silently, as when a file is put back.

use tidings_core::log::Epoch;

use super::{Form, ModelStore, State};

impl ModelStore {
    /// Loses every commit that was not safe, and every open transaction; hands the lost numbers out
    /// again, in a new epoch.
    pub fn crash(&self) {
        let mut state = self.state.lock();
        let _ = state.lose(self.form);
        state.begin_epoch();
    }

    /// Puts a counted log and its rows back to what was safe: loses commits as a crash does, but
    /// silently. The lost numbers are handed out again in the same epoch, until a reader comes that
    /// has read one of them; or this is [noticed](Self::notice). Returns that epoch if anything was
    /// lost.
    ///
    /// A log of snapshots cannot lose its tail while its server runs.
    pub fn put_back(&self) -> Option<Epoch> {
        let mut state = self.state.lock();
        match self.form {
            Form::Counted => state.lose(self.form).then_some(state.epoch),
            Form::Snapshot => None,
        }
    }

    /// Ends an epoch, unless it has ended: a reader outside the model has noticed the loss of what
    /// it had read.
    pub fn notice(&self, over: Epoch) {
        let mut state = self.state.lock();
        if state.epoch == over {
            state.begin_epoch();
        }
    }
}

impl State {
    /// Loses what was not safe, with the numbers. Returns whether anything was.
    fn lose(&mut self, form: Form) -> bool {
        self.open.clear();
        let lost = std::mem::take(&mut self.unsafe_commits);
        for undo in lost.iter().rev() {
            for (key, row) in undo.rows.iter().rev() {
                self.restore(key.clone(), row.clone());
            }
        }

        let is_lost = |mark| lost.iter().any(|undo| undo.mark == mark);
        self.log.retain(|entry| !is_lost(entry.mark));

        if let Some(first) = lost.first() {
            let kept = match form {
                Form::Counted => {
                    self.pruned_below = self.pruned_below.min(first.after);
                    first.after
                }
                Form::Snapshot => self.log.iter().map(|entry| entry.mark).max().unwrap_or(0),
            };
            self.next_number = kept.max(self.pruned_below) + 1;

            let entries = self.log.iter().map(|entry| entry.id).max().unwrap_or(0);
            self.next_entry = entries.max(self.pruned_below) + 1;
            drop(self.ids.split_off(&self.next_number));
        }

        !lost.is_empty()
    }
}
