//! [`Repeats`]: a filter that cuts lines which one place in the source repeats. It keeps every line
//! about an admin write.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tracing::{Event, Level, Metadata, callsite::Identifier};
use tracing_subscriber::layer::{Context, Filter};

use super::Sink;

/// How many lines one place may write within [`WINDOW`].
const BURST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(10);
/// The target of admin writes that were done.
const AUDIT: &str = "tidings::audit";

/// Lets each place in the source write a few lines at a time, and says afterwards how many were
/// left out.
#[derive(Debug)]
pub(super) struct Repeats {
    started: Instant,
    /// One for each place that has written: bounded by the source.
    places: Mutex<HashMap<Identifier, Place>>,
    sink: Sink,
}

/// How much one place has written lately.
#[derive(Debug, Default)]
struct Place {
    since: Duration,
    lines: u32,
    left_out: u64,
}

/// What happens to a line.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Write,
    /// Written, and this many before it were not.
    WriteAfter(u64),
    LeaveOut,
}

impl Place {
    fn judge(&mut self, now: Duration) -> Verdict {
        if now.saturating_sub(self.since) >= WINDOW {
            let left_out = std::mem::take(self).left_out;
            *self = Self {
                since: now,
                lines: 1,
                left_out: 0,
            };
            return match left_out {
                0 => Verdict::Write,
                lines => Verdict::WriteAfter(lines),
            };
        }

        if self.lines < BURST {
            self.lines += 1;
            return Verdict::Write;
        }
        self.left_out += 1;
        Verdict::LeaveOut
    }
}

impl Repeats {
    pub(super) fn new(sink: Sink) -> Self {
        Self {
            started: Instant::now(),
            places: Mutex::default(),
            sink,
        }
    }
}

impl<S> Filter<S> for Repeats {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        let place = event.metadata();
        // Operators who ask for more detail want all of it, and a sample is no audit of writes.
        if *place.level() > Level::INFO || place.target() == AUDIT {
            return true;
        }

        let now = self.started.elapsed();
        // Nothing under the lock calls out: the verdict is drawn from numbers.
        let verdict = self
            .places
            .lock()
            .entry(place.callsite())
            .or_default()
            .judge(now);

        match verdict {
            Verdict::Write => true,
            Verdict::LeaveOut => false,
            Verdict::WriteAfter(lines) => {
                let (target, line) = (place.target(), place.line());
                // Not logged from here: an event inside an event is dropped.
                self.sink.call(move || {
                    tracing::warn!(lines, of = target, line, "repeated log lines were left out");
                });
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_that_repeats_itself_is_cut_and_the_rest_is_counted() {
        let mut place = Place::default();
        let at = Duration::from_millis;
        let written = (0..1_000).filter(|&n| place.judge(at(n)) == Verdict::Write);
        assert_eq!(written.count(), BURST as usize);
        assert_eq!(place.judge(WINDOW), Verdict::WriteAfter(980));
        assert_eq!(place.judge(WINDOW + at(1)), Verdict::Write);
        assert_eq!(place.judge(WINDOW * 3), Verdict::Write);
    }
}
