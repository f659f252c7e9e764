//! Gives memory of queues back once a peak is over.

use std::collections::VecDeque;

/// Room that a queue keeps in any case.
const KEPT: usize = 1024;

/// Shrinks a queue that has room for far more than it holds, so that the memory of a peak is freed.
///
/// It keeps room for twice what it holds, and shrinks only when less than an eighth is in use: so a
/// queue whose length varies does not alternate between shrinking and growing.
pub(crate) fn shrink<T>(queue: &mut VecDeque<T>) {
    let room = queue.capacity();
    if room > KEPT && room / 8 > queue.len() {
        queue.shrink_to((queue.len() * 2).max(KEPT / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_of_a_peak_is_given_back_and_that_of_ordinary_use_is_kept() {
        let mut queue: VecDeque<u64> = (0..100_000).collect();
        queue.drain(..80_000);
        shrink(&mut queue);
        assert!(queue.capacity() >= 100_000, "more than an eighth is in use");

        queue.drain(..19_999);
        shrink(&mut queue);
        assert!(queue.capacity() <= 1024, "{}", queue.capacity());
        assert_eq!(queue, [99_999]);

        let mut small: VecDeque<u64> = VecDeque::with_capacity(1000);
        shrink(&mut small);
        assert!(small.capacity() >= 1000);
    }
}
