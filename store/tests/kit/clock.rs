//! A clock whose time of day is wrong by hours.

#![allow(dead_code, reason = "each engine's tests use a part of it")]

use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use tidings_core::{
    Timestamp, TimestampMicros,
    clock::{Clock, Sleep, SystemClock, Tick},
};

/// The machine's clock, except for its time of day.
#[derive(Clone, Debug)]
pub(crate) struct OffClock {
    system: SystemClock,
    hours: Arc<AtomicI64>,
}

impl OffClock {
    pub(crate) fn by_hours(hours: i64) -> Self {
        Self {
            system: SystemClock::new(),
            hours: Arc::new(AtomicI64::new(hours)),
        }
    }

    /// Sets the time of day.
    pub(crate) fn set_hours(&self, hours: i64) {
        self.hours.store(hours, Ordering::SeqCst);
    }

    fn seconds(&self) -> i64 {
        self.hours.load(Ordering::SeqCst) * 3_600
    }
}

impl Clock for OffClock {
    fn now(&self) -> Tick {
        self.system.now()
    }

    fn wall(&self) -> Timestamp {
        Timestamp::from_unix(self.system.wall().as_unix() + self.seconds())
    }

    fn wall_micros(&self) -> TimestampMicros {
        let micros = self.system.wall_micros().as_micros();
        TimestampMicros::from_micros(micros + self.seconds() * 1_000_000)
    }

    fn sleep_until(&self, deadline: Tick) -> Sleep {
        self.system.sleep_until(deadline)
    }
}
