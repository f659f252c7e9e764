//! [`SubscriberStats`]: the counts of one subscriber.

/// The counts of one subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscriberStats {
    /// Its name: as given, else its type of event.
    pub name: String,
    /// How many events its queue holds.
    pub capacity: usize,
    /// Events posted since it subscribed.
    pub posted: u64,
    /// Events that it did not get, as reported in gaps. In a shared log they are counted when the subscriber
    /// comes to the gap.
    pub missed: u64,
    /// Events in its queue, to within a batch of 32.
    pub depth: u64,
}
