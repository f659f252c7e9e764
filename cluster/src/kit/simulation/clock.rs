//! [`LaneClock`]: the clock of one process, which began at another time than the others and runs at
//! another rate; and [`CacheClock`], the same as its cache reads it.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Timestamp,
    clock::{Clock, Sleep, Tick},
};

use super::world::{Moment, World};
use crate::faults::{Rule, removed};

const MILLION: i128 = 1_000_000;

#[derive(Clone, Debug)]
pub(super) struct LaneClock {
    world: Arc<World>,
    offset: u64,
    /// In parts per million: how much faster than the world it runs.
    rate: i64,
}

impl LaneClock {
    pub(super) fn new(world: Arc<World>, offset: u64, rate: i64) -> Self {
        Self {
            world,
            offset,
            rate,
        }
    }

    /// Converts a duration on this clock into one of the world, rounded up.
    pub(super) fn in_world(&self, duration: Duration) -> Duration {
        let scaled = duration.as_nanos() as i128 * MILLION;
        let rate = MILLION + i128::from(self.rate);
        Duration::from_nanos(u64::try_from(scaled / rate + 1).unwrap_or(u64::MAX))
    }

    fn at(&self, moment: Moment) -> Tick {
        let passed = i128::from(moment.0) * (MILLION + i128::from(self.rate)) / MILLION;
        Tick(self.offset + passed as u64)
    }
}

impl Clock for LaneClock {
    fn now(&self) -> Tick {
        self.at(self.world.now())
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_unix((self.now().0 / 1_000_000_000) as i64)
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        let clock = self.clone();
        Box::pin(async move {
            loop {
                let left = deadline.since(clock.now());
                if left.is_zero() {
                    return;
                }
                let left = clock.in_world(left.min(Duration::from_secs(3_600)));
                clock.world.sleep(left).await;
            }
        })
    }
}

/// The clock of a process as its cache reads it.
#[derive(Debug)]
pub(super) struct CacheClock(pub(super) LaneClock);

impl Clock for CacheClock {
    fn now(&self) -> Tick {
        let now = self.0.now();
        if removed(Rule::ClockAfterValue) {
            // A time that something else has read a while ago, as a worker's loop would.
            return Tick(now.0.saturating_sub(100_000_000));
        }
        now
    }

    fn wall(&self) -> Timestamp {
        self.0.wall()
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        self.0.sleep_until(deadline)
    }
}
