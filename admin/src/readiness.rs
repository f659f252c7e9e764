//! [`Readiness`]: the reasons why a program should not get requests yet, or any more.

use std::sync::Arc;

use tokio::sync::watch;

/// A reason for `/readyz` to answer 503.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unready {
    /// The program has not started yet.
    Starting,
    /// The cache is being warmed up.
    WarmingUp,
    /// The program is ending.
    Draining,
}

/// The readiness of a program, which `/readyz` reports. A new one is ready. Clones share their
/// state.
///
/// # Examples
///
/// ```
/// use tidings_admin::{Readiness, Unready};
///
/// let readiness = Readiness::new();
/// readiness.begin(Unready::Starting);
/// assert_eq!(readiness.reasons(), ["starting"]);
/// readiness.end(Unready::Starting);
/// assert!(readiness.reasons().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<watch::Sender<u8>>);

impl Readiness {
    /// Makes a readiness without a reason against it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a reason.
    pub fn begin(&self, reason: Unready) {
        self.0.send_modify(|held| *held |= reason.bit());
    }

    /// Removes a reason.
    pub fn end(&self, reason: Unready) {
        self.0.send_modify(|held| *held &= !reason.bit());
    }

    /// Waits until a reason holds.
    pub(crate) async fn begun(&self, reason: Unready) {
        let mut held = self.0.subscribe();
        // The sender is part of what this borrows, so it exists.
        drop(held.wait_for(|held| held & reason.bit() != 0).await);
    }

    /// Returns the words of the reasons that hold.
    #[must_use]
    pub fn reasons(&self) -> Vec<&'static str> {
        let held = *self.0.borrow();
        let holds = |reason: &&Unready| held & reason.bit() != 0;
        Unready::ALL
            .iter()
            .filter(holds)
            .map(|reason| reason.as_str())
            .collect()
    }
}

impl Unready {
    const ALL: [Self; 3] = [Self::Starting, Self::WarmingUp, Self::Draining];

    /// Returns the word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::WarmingUp => "warming up",
            Self::Draining => "draining",
        }
    }

    fn bit(self) -> u8 {
        match self {
            Self::Starting => 1,
            Self::WarmingUp => 2,
            Self::Draining => 4,
        }
    }
}
