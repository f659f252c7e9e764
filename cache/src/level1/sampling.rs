//! After how many hits the next one is sampled: to touch L2, or to record an age.

/// Returns after how many hits the next is sampled: any number from one to `2 * every - 1`, so
/// `every` on average. By the key's secret hash and not by a fixed period, which falls on one key
/// alone when requests make as many lookups.
#[cold]
pub(crate) fn distance(hash: u64, hits: u64, every: u64) -> u64 {
    let mut mixed = hash ^ hits.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    1 + (mixed >> 32) % (2 * every - 1)
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn every_distance_in_the_range_is_as_frequent_as_the_others_whatever_the_hash() {
        const EVERY: u64 = 8;
        for hash in [0, 1, 0x5eed, u64::MAX] {
            let mut counts = [0; 2 * EVERY as usize];
            for hits in 0..15_000 {
                counts[distance(hash, hits, EVERY) as usize] += 1;
            }
            assert_eq!(counts[0], 0);
            let expected = 800..1_200; // 31 is one standard deviation of 1,000
            assert!(
                counts[1..].iter().all(|count| expected.contains(count)),
                "{hash:x}: {counts:?}"
            );
        }
    }

    #[test]
    fn every_hit_is_sampled_where_one_in_one_is() {
        assert!((0..1_000).all(|hits| distance(0x5eed, hits, 1) == 1));
    }
}
