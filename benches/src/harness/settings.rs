//! [`Settings`]: how much is run, and on what input.

/// How much is run, and on what input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The rounds whose median counts.
    pub rounds: usize,
    /// How often every contestant takes its turn in a round.
    pub slices: usize,
    /// Seeds every random choice.
    pub seed: u64,
    /// The part of each workload's usual size that is run, in parts per thousand.
    pub scale: usize,
}

impl Settings {
    /// Makes the settings of published figures: 9 rounds of 9 slices.
    #[must_use]
    pub fn full() -> Self {
        Self {
            rounds: 9,
            slices: 9,
            seed: 0x71D1_1165,
            scale: 1_000,
        }
    }

    /// As little as shows that everything runs; the figures mean nothing.
    #[must_use]
    pub fn quick() -> Self {
        Self {
            rounds: 1,
            slices: 2,
            scale: 20,
            ..Self::full()
        }
    }

    /// A workload's size under [`scale`](Self::scale), at least 1.
    #[must_use]
    pub fn scaled(&self, usual: usize) -> usize {
        (usual * self.scale / 1_000).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaled_sizes_never_vanish() {
        let settings = Settings {
            scale: 20,
            ..Settings::full()
        };
        assert_eq!(settings.scaled(1_000), 20);
        assert_eq!(settings.scaled(3), 1);
    }
}
