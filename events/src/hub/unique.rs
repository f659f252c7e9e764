//! [`UniqueKeys`]: which keys of unique posts are within their window.

use std::{collections::HashMap, time::Duration};

use tidings_core::clock::Tick;

use crate::{error::Refusal, sync::Mutex};

/// The most keys that are remembered at a time.
const MAX_KEYS: usize = 1 << 20;

#[derive(Default)]
pub(crate) struct UniqueKeys {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The end of each key's window, by channel.
    ends: HashMap<(u32, Box<str>), Tick>,
    /// How many keys there may be before the expired ones are swept out; twice what was left the last time, so
    /// sweeping costs a constant per post.
    sweep_at: usize,
}

impl UniqueKeys {
    /// Takes the key until its window ends; returns whether it was free.
    pub(crate) fn claim(
        &self,
        channel: u32,
        key: &str,
        now: Tick,
        window: Duration,
    ) -> Result<bool, Refusal> {
        let mut state = self.state.lock();
        if state.ends.len() >= state.sweep_at {
            state.ends.retain(|_, end| *end > now);
            state.sweep_at = (state.ends.len() * 2).max(1024);
        }
        let end = now.plus(window);
        let full = state.ends.len() >= MAX_KEYS;
        match state.ends.get_mut(&(channel, Box::from(key))) {
            Some(known) if *known > now => Ok(false),
            Some(known) => {
                *known = end;
                Ok(true)
            }
            None if full => Err(Refusal::TooManyPending { limit: MAX_KEYS }),
            None => {
                state.ends.insert((channel, key.into()), end);
                Ok(true)
            }
        }
    }

    pub(crate) fn forget(&self, channel: u32, key: &str) {
        self.state.lock().ends.remove(&(channel, Box::from(key)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expired_keys_are_swept_out() {
        let keys = UniqueKeys::default();
        for number in 0..5000_u64 {
            let now = Tick(number * 1_000_000_000);
            let claimed = keys.claim(0, &number.to_string(), now, Duration::from_secs(2));
            assert_eq!(claimed, Ok(true));
        }
        assert!(keys.state.lock().ends.len() <= 1025);
    }
}
