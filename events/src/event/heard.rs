//! [`Heard`]: what a receiver gets: an event, or the report of a gap in its place.

use crate::event::gap::Gap;

/// What a receiver gets: an event, or a [`Gap`] in the place of events that it missed.
///
/// There is no way to get at the one without saying what is to happen at the other, so a loop
/// cannot pass over a gap by accident.
///
/// # Examples
///
/// ```
/// # use tidings_events::{SubscribeOptions, WorkerEvents};
/// # let bus = WorkerEvents::builder().build()?;
/// # let numbers = bus.declare::<u64>("test", "numbers")?;
/// # let mut queue = bus.subscribe::<u64>("test", "numbers", SubscribeOptions::new().capacity(1))?;
/// numbers.post(1)?;
/// numbers.post(2)?; // pushes the first one out
///
/// let mut view_is_complete = true;
/// while let Ok(heard) = queue.try_recv() {
///     if let Some(number) = heard.or_gap(|_| view_is_complete = false) {
///         assert_eq!(*number, 2);
///     }
/// }
/// assert!(!view_is_complete);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it may be a gap"]
pub struct Heard<E> {
    heard: Result<E, Gap>,
}

impl<E> Heard<E> {
    #[inline]
    pub(crate) fn event(event: E) -> Self {
        Self { heard: Ok(event) }
    }

    pub(crate) fn gap(gap: Gap) -> Self {
        Self { heard: Err(gap) }
    }

    /// Returns the event; calls `on_gap` where there is a gap in its place.
    #[inline]
    pub fn or_gap(self, on_gap: impl FnOnce(Gap)) -> Option<E> {
        match self.heard {
            Ok(event) => Some(event),
            Err(gap) => {
                on_gap(gap);
                None
            }
        }
    }

    /// Returns the event, or the gap in its place as an error: `?` ends the loop at it.
    ///
    /// # Errors
    ///
    /// It is a gap.
    #[inline]
    pub fn into_result(self) -> Result<E, Gap> {
        self.heard
    }
}

impl<E> From<Heard<E>> for Result<E, Gap> {
    fn from(heard: Heard<E>) -> Self {
        heard.heard
    }
}
