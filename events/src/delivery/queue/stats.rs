//! [`SubscriberStats`]: the counts of one subscriber.

/// The counts of one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// Its name: as given, else its type of event, without the paths of modules.
    pub name: String,
    /// How many events its queue holds.
    pub capacity: usize,
    /// Events posted since it subscribed.
    pub posted: u64,
    /// Events that it did not get, as reported in gaps, and those of the gap that it will find when
    /// it reads again.
    pub missed: u64,
    /// Events in its queue.
    pub depth: u64,
}
