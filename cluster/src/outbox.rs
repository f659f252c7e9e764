//! [`Outbox`]: evictions on their way to the log.
//!
//! The number of waiting records is bounded: beyond it, one record for the whole cache replaces
//! many. So is the number of receipts that wait for such a record: dropped ones are removed, and
//! beyond the bound the oldest ones end unconfirmed.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::log::{Eviction, EvictionTarget, Mark};
use tokio::sync::{Notify, oneshot};
use uuid::Uuid;

/// How many records may wait for the log.
const WAITING: usize = 1_024;

/// How many receipts may wait for one record that stands for several.
const RECEIPTS: usize = 65_536;

/// Records that are on their way to the log, in their order.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Mutex<VecDeque<Outgoing>>,
    filled: Notify,
}

/// One of them, and the callers that wait for its mark.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) eviction: Eviction,
    /// The number under which this node has evicted itself.
    pub(crate) number: u64,
    pub(crate) sent: Vec<oneshot::Sender<Mark>>,
}

impl Outbox {
    /// Queues a record. Returns the records that now stand for several, by id and number.
    pub(crate) fn push(&self, outgoing: Outgoing, id: impl Fn() -> Uuid) -> Vec<(Uuid, u64)> {
        let mut waiting = self.waiting.lock();
        waiting.push_back(outgoing);

        let (mut folded, mut ended) = (Vec::new(), Vec::new());
        if waiting.len() > WAITING {
            (*waiting, ended) = fold(std::mem::take(&mut *waiting), id);
            let of = |outgoing: &Outgoing| (outgoing.eviction.id, outgoing.number);
            folded = waiting.iter().map(of).collect();
        }
        drop(waiting);

        drop(ended); // wakes whatever waits
        self.filled.notify_one();
        folded
    }

    /// Waits for a record to send. It stays in line until it [was sent](Self::sent).
    pub(crate) async fn first(&self) -> Eviction {
        loop {
            let filled = self.filled.notified();
            if let Some(outgoing) = self.waiting.lock().front() {
                return outgoing.eviction.clone();
            }
            filled.await;
        }
    }

    /// Takes out the record that was sent. `None` if it was folded into another in the meantime;
    /// that one is sent too.
    pub(crate) fn sent(&self, id: Uuid) -> Option<Outgoing> {
        let mut waiting = self.waiting.lock();
        let is_first = waiting.front().is_some_and(|first| first.eviction.id == id);
        if is_first { waiting.pop_front() } else { None }
    }

    /// Replaces a record that is too large with one for the whole cache.
    pub(crate) fn shorten(&self, id: Uuid) {
        let mut waiting = self.waiting.lock();
        if let Some(first) = waiting.front_mut()
            && first.eviction.id == id
        {
            first.eviction.target = EvictionTarget::All;
        }
    }

    /// Returns whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.lock().is_empty()
    }
}

/// Replaces many records with one for each cache. It is applied under the lowest of their numbers,
/// which keeps the most of what was reloaded since. Also returns the receipts that end.
fn fold(
    records: VecDeque<Outgoing>,
    id: impl Fn() -> Uuid,
) -> (VecDeque<Outgoing>, Vec<oneshot::Sender<Mark>>) {
    let mut caches: BTreeMap<Arc<str>, Outgoing> = BTreeMap::new();
    for outgoing in records {
        match caches.get_mut(&outgoing.eviction.cache) {
            Some(folded) => {
                folded.number = folded.number.min(outgoing.number);
                folded.sent.extend(outgoing.sent);
            }
            None => {
                let eviction = Eviction {
                    id: id(),
                    target: EvictionTarget::All,
                    ..outgoing.eviction
                };
                let cache = Arc::clone(&eviction.cache);
                caches.insert(
                    cache,
                    Outgoing {
                        eviction,
                        ..outgoing
                    },
                );
            }
        }
    }

    let mut ended = Vec::new();
    for folded in caches.values_mut() {
        ended.extend(folded.sent.extract_if(.., |receipt| receipt.is_closed()));
        let beyond = folded.sent.len().saturating_sub(RECEIPTS);
        ended.extend(folded.sent.drain(..beyond));
    }
    (caches.into_values().collect(), ended)
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot::error::TryRecvError::Closed;

    use super::*;

    fn outgoing(id: u128, cache: &str, number: u64) -> Outgoing {
        let eviction = Eviction {
            id: Uuid::from_u128(id),
            origin: None,
            cache: cache.into(),
            target: EvictionTarget::Keys(Vec::new()),
        };
        let sent = Vec::new();
        Outgoing {
            eviction,
            number,
            sent,
        }
    }

    /// Queues a record that a receipt waits for.
    fn push(outbox: &Outbox, number: u64) -> oneshot::Receiver<Mark> {
        let (sender, receipt) = oneshot::channel();
        let mut outgoing = outgoing(number.into(), "a", number);
        outgoing.sent.push(sender);
        outbox.push(outgoing, || Uuid::from_u128(u128::MAX));
        receipt
    }

    /// Returns how many receipts the outbox holds.
    fn receipts(outbox: &Outbox) -> usize {
        let waiting = outbox.waiting.lock();
        waiting.iter().map(|outgoing| outgoing.sent.len()).sum()
    }

    #[test]
    fn receipts_that_were_dropped_are_let_go_of_while_the_log_is_out_of_reach() {
        let outbox = Outbox::default();
        let kept = push(&outbox, 0);
        for number in 1..=10 * WAITING as u64 {
            drop(push(&outbox, number));
        }
        let known = receipts(&outbox);
        assert!(known <= WAITING + 1, "{known}");

        let mark = Mark::new(tidings_core::log::Epoch::new(1, Uuid::nil()), 7);
        let folded = outbox.sent(Uuid::from_u128(u128::MAX)).expect("folded");
        for sender in folded.sent {
            let _ = sender.send(mark);
        }
        assert_eq!(kept.blocking_recv(), Ok(mark), "it still waited");
    }

    #[test]
    fn the_oldest_of_too_many_receipts_end() {
        let outbox = Outbox::default();
        let count = RECEIPTS + 4 * WAITING;
        let mut kept: Vec<_> = (0..count as u64).map(|it| push(&outbox, it)).collect();
        let known = receipts(&outbox);
        assert!(known <= RECEIPTS + WAITING, "{known}");
        assert!(kept[0].try_recv().is_err_and(|it| it == Closed));
        let last = kept.last_mut().expect("the newest");
        assert!(last.try_recv().is_err_and(|it| it != Closed));
    }

    #[test]
    fn a_record_that_is_too_large_becomes_one_for_its_whole_cache() {
        let outbox = Outbox::default();
        let no_other = || unreachable!("nothing is folded");
        outbox.push(outgoing(1, "a", 1), no_other);
        outbox.push(outgoing(2, "a", 2), no_other);
        outbox.shorten(Uuid::from_u128(1));
        let [first, second] = [1, 2].map(|id| {
            let sent = outbox.sent(Uuid::from_u128(id)).expect("in line");
            sent.eviction.target
        });
        let as_it_was = EvictionTarget::Keys(Vec::new());
        assert_eq!((first, second), (EvictionTarget::All, as_it_was));
    }

    #[test]
    fn more_than_may_wait_become_one_record_for_each_cache_under_the_lowest_number() {
        let outbox = Outbox::default();
        let whole = || Uuid::from_u128(u128::MAX);
        for number in 1..=WAITING as u64 {
            let cache = if number.is_multiple_of(2) { "a" } else { "b" };
            assert!(
                outbox
                    .push(outgoing(number.into(), cache, number), whole)
                    .is_empty()
            );
        }
        let folded = outbox.push(outgoing(0, "a", 9_999), whole);
        assert_eq!(folded, [(whole(), 2), (whole(), 1)]);
        let first = outbox.sent(whole()).expect("one for each cache");
        assert_eq!(
            (&*first.eviction.cache, first.eviction.target),
            ("a", EvictionTarget::All)
        );
        assert!(
            outbox.sent(Uuid::from_u128(1)).is_none(),
            "it was folded into another"
        );
        assert!(outbox.sent(whole()).is_some() && outbox.is_empty());
    }
}
