//! What a node knows of the stream, and what it does if the stream has lost that.

use tidings_core::log::{Epoch, LogError};
use uuid::Uuid;

use super::{ATTEMPTS, Numbered, restless};
use crate::{
    engine::{Begun, Entry, Look},
    faults::{Rule, removed},
    wire::{self, Note, id_of},
};

/// The known state of the stream.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// The epoch of appends; `None` before it was read, or once it is over.
    pub(super) epoch: Option<Epoch>,
    /// The highest number of an epoch that was seen.
    highest: u64,
    /// The last record that the stream is known to have had, with all records before it.
    witness: Option<Witness>,
    /// The last epoch in which this node has appended anything.
    appended_in: Option<Epoch>,
    /// How often the engine had connected when the witness was last looked for.
    checked: u64,
    /// The number of the newest record when the stream was last pruned.
    pub(super) beat: Option<u64>,
}

/// A record that was acknowledged, or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witness {
    pub(super) epoch: Epoch,
    pub(super) last: u64,
    pub(super) id: Uuid,
}

impl Numbered {
    /// Returns the epoch, which is read again after each new connection.
    pub(super) async fn settled(&self) -> Result<Epoch, LogError> {
        if let Some(epoch) = self.known() {
            return Ok(epoch);
        }
        self.settle().await.map(|(epoch, _)| epoch)
    }

    fn known(&self) -> Option<Epoch> {
        let connections = self.engine.connections();
        let standing = self.standing.lock();
        standing.epoch.filter(|_| standing.checked == connections)
    }

    /// Notes that an epoch is over, if it was taken for the current one.
    pub(super) fn forget(&self, epoch: Epoch) {
        let mut standing = self.standing.lock();
        if standing.epoch == Some(epoch) {
            standing.epoch = None;
        }
    }

    /// Notes a record that was acknowledged to this node.
    pub(super) fn note_appended(&self, record: Witness) {
        self.standing.lock().appended_in = Some(record.epoch);
        self.note(record);
    }

    /// Notes a record that the stream had.
    pub(super) fn note(&self, record: Witness) {
        let mut standing = self.standing.lock();
        let is_later = standing.witness.is_none_or(|witness| {
            witness.epoch.number < record.epoch.number
                || (witness.epoch == record.epoch && witness.last < record.last)
        });
        if is_later {
            standing.witness = Some(record);
        }
    }

    /// Reads the epoch and the newest record of the stream. Looks for the last known record. Begins
    /// an epoch if there is none, or if the present one has lost that record.
    pub(super) async fn settle(&self) -> Result<(Epoch, Entry), LogError> {
        self.settle_with(None).await
    }

    /// Does the same, and also looks for a record that was acknowledged to this node, because the
    /// last known record may be a later one.
    pub(super) async fn settle_with(
        &self,
        acknowledged: Option<Witness>,
    ) -> Result<(Epoch, Entry), LogError> {
        let _one = self.settling.lock().await;
        for _ in 0..ATTEMPTS {
            // Before the state is read: a record that is appended in the meantime need not be in
            // it.
            let (witness, appended_in) = {
                let standing = self.standing.lock();
                (standing.witness, standing.appended_in)
            };
            let connections = self.engine.connections();
            let look = self.engine.look().await?;
            let holds = self.holds(&look, witness, appended_in).await?
                && self.holds(&look, acknowledged, appended_in).await?;
            if self.engine.connections() != connections {
                // The answers came over one connection, but the next call will use another.
                continue;
            }

            if let (Some(epoch), Some(newest), true) = (look.epoch, &look.newest, holds) {
                let mut standing = self.standing.lock();
                standing.epoch = Some(epoch);
                standing.highest = standing.highest.max(epoch.number);
                standing.checked = connections;
                return Ok((epoch, newest.clone()));
            }
            self.begin(&look).await?;
        }

        Err(restless())
    }

    /// Returns whether the stream still has the last known record. Also true if the stream is of
    /// another epoch, which readers of this one cannot enter without a gap.
    ///
    /// A trimmed record may have been lost before, and a reader may have read the record that took
    /// its number. That matters if this node has appended a record on which others rely, and was
    /// away for as long as records are kept.
    async fn holds(
        &self,
        look: &Look,
        witness: Option<Witness>,
        appended_in: Option<Epoch>,
    ) -> Result<bool, LogError> {
        let Some(witness) = witness.filter(|it| look.epoch == Some(it.epoch)) else {
            return Ok(true);
        };
        if removed(Rule::LastAppendIsChecked) {
            return Ok(true);
        }
        let Some(newest) = &look.newest else {
            return Ok(false);
        };

        let if_trimmed = appended_in != look.epoch;
        if witness.last < look.first {
            return Ok(if_trimmed);
        }
        if witness.last > newest.number {
            return Ok(false);
        }
        if witness.last == newest.number {
            return Ok(id_of(&newest.bytes) == witness.id);
        }

        let page = self.engine.read(witness.last, 1, 1, &[]).await?;
        Ok(match page.entries.first() {
            Some(first) if first.number == witness.last => id_of(&first.bytes) == witness.id,
            // It was trimmed in the meantime.
            Some(_) => if_trimmed,
            None => false,
        })
    }

    /// Begins an epoch in place of the one that was seen, unless another node does.
    async fn begin(&self, look: &Look) -> Result<(), LogError> {
        let before = self.standing.lock().highest;
        let before = before.max(look.epoch.map_or(0, |epoch| epoch.number));
        let epoch = Epoch::new(before.saturating_add(1).max(look.now), self.entropy.uuid());
        let record = wire::note(Note::Begin, self.entropy.uuid(), epoch, Some(&self.node));

        match self.engine.begin(look.epoch, epoch, &record).await? {
            Begun::At(number) => {
                let engine = self.engine.name();
                match look.epoch {
                    Some(over) => tracing::error!(
                        engine, %over, %epoch, number,
                        "the stream has lost records that it had acknowledged: every node purges"
                    ),
                    None => tracing::info!(engine, %epoch, number, "a stream begins"),
                }
            }
            // Another node was faster: read the state again.
            Begun::Is(_) => {}
        }

        Ok(())
    }
}
