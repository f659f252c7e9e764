//! [`Trail`]: which events led to this one, so that a cycle of posts can be named when it is cut
//! off.

/// How many of the latest ancestors are remembered. A cycle of more channels than that is still cut
/// off by its depth, but named by its end only.
const REMEMBERED: usize = 7;

/// The path from a post outside of any handler to the current event: its length, and its latest
/// channels.
///
/// It is copied into every event, so it is 32 bytes and allocates nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail {
    depth: u32,
    /// Numbers of channels, a ring: the ancestor of depth `n` is at `n % REMEMBERED`.
    latest: [u32; REMEMBERED],
}

impl Trail {
    /// Returns the trail, unless it is empty.
    pub(crate) fn if_any(&self) -> Option<&Self> {
        (self.depth > 0).then_some(self)
    }

    /// Returns how many handlers lie between the first post and this event.
    pub(crate) fn depth(&self) -> u32 {
        self.depth
    }

    /// Returns the trail of an event that is posted by a handler of an event on `channel`.
    #[must_use]
    pub(crate) fn after(mut self, channel: u32) -> Self {
        self.latest[self.depth as usize % REMEMBERED] = channel;
        self.depth += 1;
        self
    }

    /// Returns the channels that repeat, oldest first and closed by `channel` itself: `[a, b, a]`
    /// for two channels that post to each other. If nothing repeats, all that are remembered.
    pub(crate) fn cycle(&self, channel: u32) -> Vec<u32> {
        let depth = self.depth as usize;
        let known = REMEMBERED.min(depth);
        // The latest first.
        let ancestor = |back: usize| self.latest[(depth - 1 - back) % REMEMBERED];
        let period = (0..known)
            .find(|&back| ancestor(back) == channel)
            .map_or(known, |found| found + 1);

        let mut path: Vec<_> = (0..period).rev().map(ancestor).collect();
        path.push(channel);
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_cut_to_one_round() {
        let trail = Trail::default()
            .after(5)
            .after(1)
            .after(2)
            .after(1)
            .after(2);
        assert_eq!(trail.cycle(1), [1, 2, 1]);
        assert_eq!(trail.depth(), 5);
    }

    #[test]
    fn a_self_post_is_named_as_one() {
        assert_eq!(Trail::default().after(3).after(3).cycle(3), [3, 3]);
    }

    #[test]
    fn a_path_longer_than_memory_ends_at_the_channel() {
        let trail = (0..20).fold(Trail::default(), Trail::after);
        assert_eq!(trail.cycle(99), [13, 14, 15, 16, 17, 18, 19, 99]);
    }
}
