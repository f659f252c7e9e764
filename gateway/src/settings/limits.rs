//! The limits of settings, as stated by the parts that have them.

use std::{num::NonZeroUsize, thread};

use tidings::{cache, events};

use super::values::spelled;
use crate::descriptors;

/// The most workers that a node supports.
pub(super) const MOST_WORKERS: usize = events::MAX_WORKERS;

pub(super) fn workers_allowed() -> String {
    format!("a whole number from 1 to {MOST_WORKERS}")
}

pub(super) fn cores() -> String {
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    cores.min(MOST_WORKERS).to_string()
}

pub(super) fn cache_size_allowed() -> String {
    let (least, most) = (
        cache::SMALLEST_CAPACITY >> 10,
        cache::LARGEST_CAPACITY >> 30,
    );
    format!("a size from {least}k to {most}g, in bytes or with a unit, such as 512k, 128m or 1g")
}

pub(super) fn lifetime_allowed() -> String {
    let longest = spelled(cache::LONGEST_DURATION);
    format!("a duration such as 500ms, 5s, 1m or 2h, up to {longest}; 0 for none")
}

pub(super) fn connections_allowed() -> String {
    format!(
        "a whole number from 1 to {}, which the limit of open files allows",
        descriptors::most_connections()
    )
}

pub(super) fn connections() -> String {
    descriptors::default_connections().to_string()
}
