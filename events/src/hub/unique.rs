//! [`UniqueKeys`]: which keys of unique posts are within their window.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::Arc,
    time::Duration,
};

use tidings_core::clock::Tick;

use crate::{error::Refusal, sync::Mutex};

/// The most keys that are within their window at a time.
const MAX_KEYS: usize = 1 << 20;

pub(crate) struct UniqueKeys {
    limit: usize,
    state: Mutex<State>,
}

/// A channel and a key.
type Key = (u32, Arc<str>);

/// Whether a key could be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Taken,
    Duplicate,
}

#[derive(Default)]
struct State {
    /// The end of each key's window.
    ends: HashMap<Key, Tick>,
    /// The same, the earliest first. May hold ends of keys that were forgotten; they are passed
    /// over.
    order: BinaryHeap<Reverse<(Tick, Key)>>,
}

impl Default for UniqueKeys {
    fn default() -> Self {
        Self::new(MAX_KEYS)
    }
}

impl UniqueKeys {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    /// Takes the key until its window ends.
    pub(crate) fn claim(
        &self,
        channel: u32,
        key: &str,
        now: Tick,
        window: Duration,
    ) -> Result<Claim, Refusal> {
        let mut state = self.state.lock();
        state.expire(now);

        let key = (channel, Arc::from(key));
        if state.ends.contains_key(&key) {
            return Ok(Claim::Duplicate);
        }
        if state.ends.len() >= self.limit {
            return Err(Refusal::TooManyKeys { limit: self.limit });
        }

        let end = now.plus(window);
        if end > now {
            state.order.push(Reverse((end, key.clone())));
            state.ends.insert(key, end);
        }
        Ok(Claim::Taken)
    }

    /// Frees a key before its window ends.
    pub(crate) fn forget(&self, channel: u32, key: &str) {
        let mut state = self.state.lock();
        state.ends.remove(&(channel, Arc::from(key)));
        state.tidy();
    }
}

impl State {
    /// Removes the keys whose windows have ended: each once, so a post pays for as many as others
    /// left it.
    fn expire(&mut self, now: Tick) {
        while let Some(Reverse((end, _))) = self.order.peek()
            && *end <= now
        {
            if let Some(Reverse((end, key))) = self.order.pop()
                && self.ends.get(&key) == Some(&end)
            {
                self.ends.remove(&key);
            }
        }

        self.tidy();
    }

    /// Frees the room that a peak took, and that of ends whose keys were forgotten.
    fn tidy(&mut self) {
        if self.order.len() > 2 * self.ends.len() + 64 {
            let ends = &self.ends;
            self.order
                .retain(|Reverse((end, key))| ends.get(key) == Some(end));
        }
        if self.ends.capacity() > 1024 && self.ends.capacity() / 8 > self.ends.len() {
            self.ends.shrink_to(self.ends.len() * 2);
            self.order.shrink_to(self.ends.len() * 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(number: u64) -> Tick {
        Tick(number * 1_000_000_000)
    }

    #[test]
    fn expired_keys_are_removed_and_their_room_is_given_back() {
        let keys = UniqueKeys::default();
        for number in 0..50_000 {
            let claim = keys.claim(0, &number.to_string(), second(0), Duration::from_secs(2));
            assert_eq!(claim, Ok(Claim::Taken));
        }
        let last = keys.claim(0, "last", second(2), Duration::from_secs(2));
        assert_eq!(last, Ok(Claim::Taken));
        let state = keys.state.lock();
        assert_eq!((state.ends.len(), state.order.len()), (1, 1));
        assert!(state.ends.capacity() < 1024 && state.order.capacity() < 1024);
    }

    /// As many keys as there may be are within their window; once the windows have ended, new ones
    /// are taken again.
    #[test]
    fn a_full_table_takes_new_keys_again_once_windows_have_ended() {
        let keys = UniqueKeys::new(1000);
        for number in 0..1000 {
            let claim = keys.claim(0, &number.to_string(), second(0), Duration::from_secs(10));
            assert_eq!(claim, Ok(Claim::Taken));
        }
        let more = |now| keys.claim(0, "one more", now, Duration::from_secs(1));
        let full = Refusal::TooManyKeys { limit: 1000 };
        assert_eq!(more(second(9)), Err(full));
        assert_eq!(more(second(10)), Ok(Claim::Taken));
    }

    #[test]
    fn a_key_that_is_tried_in_vain_over_and_over_takes_no_room() {
        let keys = UniqueKeys::default();
        for _ in 0..10_000 {
            let claim = keys.claim(0, "busy", second(0), Duration::from_secs(3600));
            assert_eq!(claim, Ok(Claim::Taken));
            keys.forget(0, "busy");
        }
        assert!(keys.state.lock().order.len() <= 65);
    }
}
