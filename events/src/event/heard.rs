//! [`Heard`]: the item of a receiver: an event, or the report of a gap in its place.

use crate::event::gap::Gap;

/// The item of a receiver: an event, or a [`Gap`] in place of events that it missed.
///
/// You cannot reach the event without handling the gap, so a loop cannot skip a gap by accident.
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

    /// Returns the event. If there is a gap in its place, calls `on_gap` and returns `None`.
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

    /// Returns the event, or the gap in its place as an error, so that `?` ends the loop there.
    ///
    /// # Errors
    ///
    /// There is a gap in place of the event.
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
