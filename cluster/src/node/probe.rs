//! [`Probe`]: a record that changes nothing, and how long each member took to apply it.
//!
//! It takes the usual path from commit to report, on demand: a member that answers has read the
//! record, evicted (nothing), run the handlers before it, and written its report.

use std::{sync::Arc, time::Duration};

use tidings_core::log::{Appended, Bookmark, EvictionTarget, LogError, Mark, MemberId, Wake};

use super::{protocol::Protocol, shared::Shared, shared::count};
use crate::trail::Looked;

/// How often the members' table is checked at first, so that fast answers can be told apart.
const CLOSELY: Duration = Duration::from_millis(1);
/// How long it is checked that often.
const AT_FIRST: Duration = Duration::from_millis(100);
/// How often it is checked afterwards.
const LATER: Duration = Duration::from_millis(10);

/// The result of one record that changes nothing.
#[derive(Clone, Debug)]
pub struct Probe {
    /// The record.
    pub mark: Mark,
    /// The mark with the place from which a reader that knows the record goes on; `None` if this
    /// node had not read the log of the record's epoch.
    pub bookmark: Option<Bookmark>,
    /// Each member's name, and how long it took from the acknowledgement of the record until its
    /// report was seen; `None` for one that did not report in time.
    pub took: Vec<(Arc<str>, Option<Duration>)>,
}

impl Protocol {
    /// Writes a record that changes nothing, and waits until every member has applied it, or until
    /// the time is over.
    ///
    /// # Errors
    ///
    /// See [`LogError`]: the record could not be written, or the members could not be asked.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future leaves the record in the log, where it does nothing.
    pub async fn probe(&self, timeout: Duration) -> Result<Probe, LogError> {
        let shared = self.shared();
        let nothing = EvictionTarget::Keys(Vec::new());
        let eviction = shared.eviction_of(shared.cache.name().into(), nothing);

        // What this cursor covers had ended before the record was written.
        let seen = shared.seen.get();
        let mark = shared.log.append(Appended::Evict(eviction)).await?;
        count(&shared.counters.written);

        let bookmark = seen.and_then(|seen| Bookmark::after(&seen, mark));
        let took = shared.times(mark, timeout).await?;
        Ok(Probe {
            mark,
            bookmark,
            took,
        })
    }
}

impl Shared {
    /// Returns how long each member takes to apply a commit that was acknowledged just now.
    async fn times(
        &self,
        mark: Mark,
        timeout: Duration,
    ) -> Result<Vec<(Arc<str>, Option<Duration>)>, LogError> {
        let since = self.clock.now();
        let until = since.plus(timeout);
        let asked = match &self.members {
            // After the commit: a report that answers may not be from before it.
            Some(members) => members.demand().await?,
            None => Vec::new(),
        };

        self.log.wake(Wake::Look);
        self.look.notify_one();

        let mut open: Vec<MemberId> = asked.into_iter().map(|(id, _)| id).collect();
        let is_listed = open.iter().any(|id| id.node == self.node);
        let mut took: Vec<_> = open.iter().map(|id| (Arc::clone(&id.node), None)).collect();
        if !is_listed {
            took.push((Arc::clone(&self.node), None));
        }
        let mut is_own_open = !is_listed;

        loop {
            let rows = match &self.members {
                Some(members) if !open.is_empty() => members.list().await?,
                Some(_) | None => Vec::new(),
            };
            let now = self.clock.now();
            let mut note = |node: &str| {
                let mut members = took.iter_mut();
                if let Some((_, time)) = members.find(|(name, _)| &**name == node) {
                    *time = Some(now.since(since));
                }
            };
            open.retain(|id| {
                let row = rows.iter().find(|row| row.id == *id);
                let reported = row.and_then(|row| row.reported.as_ref());
                let has_applied = reported.is_some_and(|reported| {
                    reported.covers(mark) && self.trail.shares(reported, mark, Looked::No)
                });
                if has_applied {
                    note(&id.node);
                }

                // One that has left, or has joined again, will not report as this member.
                row.is_some() && !has_applied
            });

            if is_own_open && self.has_applied(mark) {
                note(&self.node);
                is_own_open = false;
            }

            if open.is_empty() && !is_own_open || now >= until {
                return Ok(took);
            }
            let pause = match now.since(since) < AT_FIRST {
                true => CLOSELY,
                false => LATER,
            };
            self.clock.sleep(pause).await;
        }
    }
}
