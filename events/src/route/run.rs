//! Runs a list of inline handlers over one event, each isolated from the others.

use std::{
    any::Any,
    cell::Cell,
    mem,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{BoxError, Chain, Operation, panic_text};
use tracing::Span;

use crate::{
    event::{
        dynamic::Body,
        handler::{Entry, HandlerInfo, OwnerGone},
        info::ChannelInfo,
        payload::Event,
    },
    isolate::{dispose, quietly},
    thread::frame::Frame,
};

/// What a handler may ask for besides the payload.
pub(crate) struct HandlerContext<'a> {
    pub(crate) info: &'a ChannelInfo,
    pub(crate) operation: Option<Operation>,
    pub(crate) body: &'a dyn Body,
}

/// A handler in the form that dispatch calls.
pub(crate) type Inline<T> = Entry<InlineFn<T>>;

/// Boxed inside the entry: what the loop over a list reads first is then at a fixed place behind a
/// thin pointer.
pub(crate) type InlineFn<T> =
    Box<dyn Fn(&T, &HandlerContext<'_>) -> Result<(), BoxError> + Send + Sync>;

/// One dispatch in this many has its handlers timed, on average.
const SAMPLED: u64 = 256;

/// Runs the living handlers of `list` in order.
///
/// One `catch_unwind` covers as many handlers as run without a panic; after a panic the rest goes
/// on under a new one. So isolation costs per list, not per handler.
#[inline]
pub(crate) fn run<T: Event>(
    frame: &Frame,
    list: &[Arc<Inline<T>>],
    payload: &T,
    context: &HandlerContext<'_>,
) {
    if list.is_empty() {
        return;
    }

    let record = frame.record();
    record.begin();

    let next = Cell::new(0);
    while next.get() < list.len() {
        let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
            for entry in &list[next.get()..] {
                next.set(next.get() + 1);
                // Read right before the call: an unregistered handler in an older list is passed
                // over.
                if let Some(serial) = entry.live() {
                    record.runs(serial);
                    if let Err(error) = (entry.call)(payload, context) {
                        failed(&entry.info, context.info, error);
                    }
                }
            }
        }));
        if let Err(panic) = outcome {
            panicked(&list[next.get() - 1].info, context.info, panic);
        }
    }

    record.end();
}

/// Does the same as [`run`], out of line, so that callers hold only one copy of the loop.
#[inline(never)]
pub(crate) fn run_more<T: Event>(
    frame: &Frame,
    list: &[Arc<Inline<T>>],
    payload: &T,
    context: &HandlerContext<'_>,
) {
    run(frame, list, payload, context);
}

/// Does the same as [`run`], with each handler in a span of its own if spans of this level are on,
/// and timed if asked for.
#[cold]
pub(crate) fn run_watched<T: Event>(
    frame: &Frame,
    list: &[Arc<Inline<T>>],
    payload: &T,
    context: &HandlerContext<'_>,
    timing: Timing,
) {
    let mut stopwatch = timing.is_on().then(Stopwatch::start);
    for entry in list {
        let span = handler_span(&entry.info, context.info);
        inside(&span, || {
            run(frame, std::slice::from_ref(entry), payload, context)
        });
        if let Some(stopwatch) = &mut stopwatch {
            entry.info.took(stopwatch.lap());
        }
    }
}

/// Whether the handlers of a dispatch are timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timing {
    On,
    Off,
}

impl Timing {
    #[inline]
    pub(crate) fn is_on(self) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
        }
    }
}

/// Returns which dispatch after this one is timed: one in 256 on average. The distances follow no
/// pattern, so that posts which do follow one are sampled evenly.
#[cold]
pub(crate) fn next_sample(number: u64) -> u64 {
    // The mixing step of splitmix64.
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^= mixed >> 31;

    number + 1 + mixed % (2 * SAMPLED - 1)
}

/// Times one call after the other, with one reading of the clock for each.
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Returns the time since the last lap, or the start.
    pub(crate) fn lap(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(mem::replace(&mut self.0, now))
    }
}

/// Returns whether each handler's call gets a span: one read of a static when tracing is off.
#[inline]
pub(crate) fn spans_are_on() -> bool {
    tracing::enabled!(tracing::Level::DEBUG)
}

/// Makes the span of a handler's call; one that does nothing if the tracing subscriber panics.
pub(crate) fn handler_span(handler: &HandlerInfo, channel: &ChannelInfo) -> Span {
    let span = quietly(|| {
        tracing::debug_span!(
            "handle",
            source = &*channel.source,
            event = &*channel.event,
            handler = &*handler.name,
        )
    });
    span.unwrap_or_else(Span::none)
}

/// Runs `body` inside of a span, whatever the tracing subscriber does.
#[inline]
pub(crate) fn inside<R>(span: &Span, body: impl FnOnce() -> R) -> R {
    if span.is_none() {
        return body();
    }

    let entered = quietly(|| span.enter());
    let result = body();
    quietly(|| drop(entered));
    result
}

/// Logs, counts and drops a handler's error. User code in it may panic: that counts as the
/// handler's panic.
#[cold]
pub(crate) fn failed(handler: &HandlerInfo, channel: &ChannelInfo, error: BoxError) {
    if error.is::<OwnerGone>() {
        return;
    }
    handler.failed();

    let logged = quietly(|| {
        tracing::error!(
            source = &*channel.source,
            event = &*channel.event,
            handler = &*handler.name,
            error = %Chain(&*error),
            "a handler failed"
        );
    });
    let dropped = quietly(|| drop(error));

    if logged.is_none() || dropped.is_none() {
        handler.panicked();
    }
}

/// Logs and counts a handler's panic.
#[cold]
pub(crate) fn panicked(handler: &HandlerInfo, channel: &ChannelInfo, panic: Box<dyn Any + Send>) {
    handler.panicked();
    quietly(|| {
        tracing::error!(
            source = &*channel.source,
            event = &*channel.event,
            handler = &*handler.name,
            panic = panic_text(&*panic),
            "a handler panicked"
        );
    });
    dispose(panic);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_lie_at_distances_that_follow_no_pattern() {
        let next = [0, 1, 2, 1_000, 1_000_000_000_000].map(next_sample);
        assert_eq!(next, [416, 312, 483, 1_022, 1_000_000_000_154]);

        let distances = (0..100_000).map(|number| next_sample(number) - number);
        let average = distances.clone().sum::<u64>() / 100_000;
        assert_eq!(average, SAMPLED);
        assert_eq!(
            (distances.clone().min(), distances.max()),
            (Some(1), Some(511))
        );
    }
}
