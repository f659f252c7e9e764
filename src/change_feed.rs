//! [`ChangeFeed`]: the changes of a node as they happen, for watchers.
//!
//! If the store keeps a log, a feed contains the changes of every program and every node, and can
//! resume at a [`Place`] for as long as the log holds it. On a node without a log, it contains the
//! node's own changes. Changes that a feed misses are a gap, which is a value in the feed.

use std::{collections::VecDeque, sync::Arc};

use futures_util::future::{Either, select};
use tidings_cluster::{Replay, Replayed, Told};
use tidings_core::log::{Cursor, Gap, GapReason, Mark, Place, Position};
use tokio_util::sync::CancellationToken;

use crate::{
    feed::{Back, Entry, Feed, FeedChange, FeedGap, Glob, MAX_WATCHERS, Sequence, Taken, Watcher},
    node::Node,
    positions::Started,
    token::{Origin, Token, TokenError},
};

/// Selects the changes of a feed and the place where it starts.
///
/// # Examples
///
/// ```
/// use tidings::{ChangeFeedOptions, Glob};
///
/// let options = ChangeFeedOptions::new()
///     .source(Glob::new("crud"))
///     .event(Glob::new("consumers:*"));
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ChangeFeedOptions {
    source: Glob,
    event: Glob,
    after: Option<FeedStart>,
}

impl ChangeFeedOptions {
    /// Selects all changes from now on.
    pub fn new() -> Self {
        Self {
            source: Glob::any(),
            event: Glob::any(),
            after: None,
        }
    }

    /// Selects only channels whose source matches.
    pub fn source(mut self, source: Glob) -> Self {
        self.source = source;
        self
    }

    /// Selects only channels whose event matches. The change of a row is on two channels,
    /// `consumers` and `consumers:update`; either may match.
    pub fn event(mut self, event: Glob) -> Self {
        self.event = event;
        self
    }

    /// Starts after a place that an earlier feed of this cluster had reached, or after a write
    /// ([`Node::feed_start`]). Changes that were in progress then may come again. If the place is
    /// no longer held, the feed begins with a gap.
    pub fn after(mut self, start: impl Into<FeedStart>) -> Self {
        self.after = Some(start.into());
        self
    }
}

/// The start of a feed: after a [`Place`], or after the write that a [`Token`] names.
#[derive(Clone, Debug)]
pub struct FeedStart {
    place: Place,
    /// The write itself, which is not delivered again.
    known: Option<Mark>,
}

impl From<Place> for FeedStart {
    fn from(place: Place) -> Self {
        Self { place, known: None }
    }
}

/// Why a feed cannot start at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoFeedStart {
    /// The token is not one of this database.
    #[error(transparent)]
    Invalid(#[from] TokenError),
    /// The token comes from an earlier version of the program, from a node that had not read the
    /// log yet, or from a node whose log is a stream; a stream can only be read from a record on.
    #[error(
        "this position does not say where to go on: expected that of a change, or of a later write to a database"
    )]
    Unplaced,
}

impl Default for ChangeFeedOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// Too many feeds are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} feeds of changes are already open")]
pub struct TooManyFeeds(usize);

/// The next item of a feed.
#[derive(Clone, Debug)]
#[must_use = "it may be a gap"]
pub enum Fed {
    /// A change, or an event of an application.
    Change(Arc<FeedChange>),
    /// Changes are missing here.
    Gap(FeedGap),
}

/// The changes of a node as they happen. Made by [`Node::change_feed`].
#[derive(Debug)]
pub struct ChangeFeed {
    options: ChangeFeedOptions,
    feed: Feed,
    watcher: Watcher,
    /// Entries read from the log, to be delivered before those of the ring: a page at most, which
    /// few feeds hold at once.
    ready: VecDeque<Entry>,
    replay: Option<Replay>,
    stage: Stage,
    stop: CancellationToken,
}

/// Where a feed gets its changes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// From the log, from the feed's place on.
    Replaying,
    /// From the node's ring, without the changes that it already got from the log.
    Live,
}

impl Node {
    /// Opens a feed of the changes from now on, or from a place on. If the store keeps a log, these
    /// are the changes of every program and every node; otherwise they are this node's own.
    ///
    /// A feed delays no write. All feeds share one ring of at most 4,096 changes and 4 MiB, and a
    /// feed is a place in it. Changes from the log wait for a feed that keeps up (a thousand
    /// changes per second are enough), and for a slower one half a second at most. A feed that is
    /// read too slowly gets a gap with the count of the missed changes.
    ///
    /// # Errors
    ///
    /// 64 feeds are open already.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{ChangeFeedOptions, Entity, Fed, Node, Store};
    /// # use serde::{Deserialize, Serialize};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), tidings::BoxError> {
    /// # #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// # #[entity(name = "flags")]
    /// # struct Flag { #[entity(primary_key)] name: String, on: bool }
    /// # let store = Store::open("sqlite::memory:").await?;
    /// let node = Node::builder().store(store).entity::<Flag>().start().await?;
    /// let mut feed = node.change_feed(ChangeFeedOptions::new())?;
    /// node.dao::<Flag>()?.insert(Flag { name: "beta".into(), on: true }).await?;
    /// match feed.next().await {
    ///     Some(Fed::Change(change)) => assert_eq!(change.event(), "flags:create"),
    ///     Some(Fed::Gap(gap)) => println!("missed: {}", gap.data()), // rebuild what depends on it
    ///     None => {}                                                 // the node has stopped
    /// }
    /// # let _ = node.shutdown(std::time::Duration::from_secs(5)).await;
    /// # Ok(()) }
    /// ```
    pub fn change_feed(&self, options: ChangeFeedOptions) -> Result<ChangeFeed, TooManyFeeds> {
        let shared = self.shared();
        let feed = shared.feed.clone();

        // Before the log is asked: changes that are committed from here on come from the ring.
        let watcher = feed.ring().subscribe().ok_or(TooManyFeeds(MAX_WATCHERS))?;
        let replay = match (&shared.following, &options.after) {
            (Some(following), Some(start)) => {
                let history = Arc::clone(following.history());
                Some(following.protocol().replay(history, &start.place))
            }
            _ => None,
        };
        if replay.is_some() {
            watcher.step_aside();
        }

        let mut made = ChangeFeed {
            stage: match replay {
                Some(_) => Stage::Replaying,
                None => Stage::Live,
            },
            options,
            feed,
            watcher,
            ready: VecDeque::new(),
            replay,
            stop: shared.stop.clone(),
        };
        if shared.following.is_none() {
            made.go_back();
        }

        Ok(made)
    }

    /// Returns the start of a feed after a write, including everything that was in progress when
    /// the write began. The feed misses nothing that was committed after the write. It may repeat a
    /// change that was committed while the write, or a transaction before it, was in progress.
    ///
    /// # Errors
    ///
    /// [`NoFeedStart::Invalid`] if the token is forged or comes from another database.
    /// [`NoFeedStart::Unplaced`] if it comes from an earlier version, from a node that had not read
    /// the log yet, or from a node whose log is a stream, which can only be read from the [`Place`]
    /// of a record.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings::{ChangeFeed, ChangeFeedOptions, Node, Token};
    ///
    /// /// Follows what happens after a client's own write.
    /// fn follow(node: &Node, write: &Token) -> Result<ChangeFeed, tidings::BoxError> {
    ///     let start = node.feed_start(write)?;
    ///     Ok(node.change_feed(ChangeFeedOptions::new().after(start))?)
    /// }
    /// ```
    pub fn feed_start(&self, write: &Token) -> Result<FeedStart, NoFeedStart> {
        let shared = self.shared();
        let position = shared.positions.seal.open(write)?;
        let bookmark = position.bookmark().ok_or(NoFeedStart::Unplaced)?;
        let place = bookmark.place();

        let is_own = match (&shared.following, position.origin) {
            (None, Origin::Node) => shared.positions.started(position.mark.epoch()) == Started::Now,
            // Not a place among this node's own changes. If it is not in the node's log either,
            // the feed begins with a gap.
            (Some(_), Origin::Node) | (_, Origin::Log) => false,
        };
        Ok(match place.0.position() {
            // The node's own changes have an epoch of their own.
            Position::Counted(number) if is_own => {
                let cursor = Cursor::counted(shared.feed.epoch(), *number);
                FeedStart::from(Place(cursor))
            }
            Position::Counted(_)
            | Position::Numbered { .. }
            | Position::Snapshot(_)
            | Position::Page { .. } => FeedStart {
                place,
                known: Some(bookmark.mark()),
            },
        })
    }
}

impl ChangeFeed {
    /// Returns the next change or gap; `None` once the node has stopped.
    ///
    /// Cancel safe: nothing is lost.
    pub async fn next(&mut self) -> Option<Fed> {
        let stop = self.stop.clone();
        loop {
            if stop.is_cancelled() {
                return None;
            }

            while let Some(entry) = self.ready.pop_front() {
                self.let_go();
                if let Some(fed) = self.fed(entry) {
                    return Some(fed);
                }
            }

            let stopped = std::pin::pin!(stop.cancelled());
            let more = std::pin::pin!(self.more());
            if let Either::Right(_) = select(more, stopped).await {
                return None;
            }
        }
    }

    /// Returns an entry if the options select it.
    fn fed(&self, entry: Entry) -> Option<Fed> {
        let (source, event) = (&self.options.source, &self.options.event);
        let known = self.options.after.as_ref().and_then(|start| start.known);
        match entry {
            Entry::Change(change) if known.is_some() && change.mark() == known => None,
            Entry::Change(change) => change.is_on(source, event).then_some(Fed::Change(change)),
            Entry::Gap(gap) => gap.is_on(source, event).then_some(Fed::Gap(gap)),
        }
    }

    /// Waits until there is more to deliver, or something to skip.
    async fn more(&mut self) {
        if let (Stage::Replaying, Some(replay)) = (self.stage, &mut self.replay) {
            match replay.next().await {
                Replayed::More(told) => self.read(told),
                Replayed::End(told) => {
                    self.read(told);
                    self.go_live();
                }
                Replayed::Gap(gap) => {
                    self.ready.push_back(Entry::Gap(FeedGap::new(gap, None)));
                    self.replay = None;
                    self.stage = Stage::Live;
                }
            }

            return;
        }

        match self.watcher.take() {
            Taken::Entry(entry) if self.is_told(&entry) => {}
            Taken::Entry(entry) => self.ready.push_back(entry),
            Taken::Missed(missed, gap) => {
                self.ready.extend(gap.map(Entry::Gap));
                let overflow = FeedGap::overflow(missed);
                self.ready.push_back(Entry::Gap(overflow));
            }
            Taken::Nothing => self.watcher.filled().await,
        }
    }

    fn read(&mut self, told: Vec<Told>) {
        self.ready.extend(told.into_iter().map(Feed::entry));
    }

    /// Lets another feed hold a page of the log, once all of this feed's page is delivered.
    fn let_go(&mut self) {
        if let (true, Some(replay)) = (self.ready.is_empty(), &mut self.replay) {
            replay.release();
        }
    }

    /// Continues with the changes in the ring, since the log has no more. If the ring has dropped
    /// some of them in the meantime, they are read from the log.
    fn go_live(&mut self) {
        if self.watcher.has_missed() {
            let gap = self.watcher.pass_over();
            self.ready.extend(gap.map(Entry::Gap));
        } else {
            self.stage = Stage::Live;
        }
    }

    /// Returns whether an entry was delivered from the log already.
    fn is_told(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Change(change) => {
                let replay = self.replay.as_ref();
                let mark = change.mark();
                mark.zip(replay)
                    .is_some_and(|(mark, replay)| replay.covers(mark))
            }
            Entry::Gap(_) => false,
        }
    }

    /// Goes back to a place on a node without a log, or begins with a gap.
    fn go_back(&mut self) {
        let Some(start) = &self.options.after else {
            return;
        };

        let Place(cursor) = &start.place;
        let (reason, missed) = match cursor.position() {
            Position::Counted(number) if cursor.epoch() == self.feed.epoch() => {
                match self.watcher.back_to(Sequence(*number)) {
                    Ok(()) => return,
                    Err(Back::Gone(missed)) => (GapReason::Trimmed, Some(missed)),
                    Err(Back::NeverWas) => (GapReason::LostTail, None),
                }
            }
            Position::Counted(_)
            | Position::Numbered { .. }
            | Position::Snapshot(_)
            | Position::Page { .. } => (GapReason::Epoch, None),
        };
        let gap = FeedGap::new(Gap::of_all(reason), missed);
        self.ready.push_back(Entry::Gap(gap));
    }
}

#[cfg(test)]
mod tests {
    use tidings_core::clock::ManualClock;

    use super::*;
    use crate::feed::Keeps;

    /// Only the gap among them comes from the ring.
    #[test]
    fn entries_dropped_while_the_log_is_read_come_from_the_log() {
        let clock = Arc::new(ManualClock::new());
        let feed = Feed::new("a", Keeps::WhileWatched, clock);
        let mut comes_back = ChangeFeed {
            options: ChangeFeedOptions::new(),
            watcher: feed.ring().subscribe().expect("room for a watcher"),
            feed: feed.clone(),
            ready: VecDeque::new(),
            replay: None,
            stage: Stage::Replaying,
            stop: CancellationToken::new(),
        };
        let gap = Gap::of_all(GapReason::Capture);
        feed.ring()
            .push(|_| Entry::Gap(FeedGap::new(gap.clone(), None)));
        let large = format!("\"{}\"", "x".repeat(1 << 20));
        for _ in 0..5 {
            feed.posted("test", "large", &large);
        }
        assert!(comes_back.watcher.has_missed());

        comes_back.go_live();
        assert_eq!(comes_back.stage, Stage::Replaying, "the log is read on");
        let told = comes_back.ready.pop_front();
        assert!(
            matches!(&told, Some(Entry::Gap(told)) if *told.gap() == gap),
            "{told:?}"
        );
        assert!(comes_back.ready.is_empty());
        assert!(matches!(comes_back.watcher.take(), Taken::Nothing));
        comes_back.go_live();
        assert_eq!(comes_back.stage, Stage::Live);
    }
}
