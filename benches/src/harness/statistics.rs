//! Medians and percentiles.

/// Returns the middle of the values, or the mean of the two middle ones; NaN if there are none.
///
/// Sorts the values in place.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Returns the smallest value that at least `percent` per cent of the values do not exceed (nearest
/// rank); NaN if there are none.
///
/// Sorts the values in place.
#[must_use]
pub fn percentile(values: &mut [f64], percent: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let rank = (percent / 100.0 * values.len() as f64).ceil() as usize;
    values
        .get(rank.max(1) - 1)
        .or(values.last())
        .copied()
        .unwrap_or(f64::NAN)
}

/// Returns how far the extremes are apart, in per cent of the median; NaN if there are no values.
pub(super) fn spread(values: &mut [f64]) -> f64 {
    let middle = median(values);
    match values {
        [first, .., last] => (*last - *first) / middle * 100.0,
        [_] => 0.0,
        [] => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9
    }

    #[test]
    fn the_median_of_an_odd_count_is_the_middle_one() {
        assert!(same(median(&mut [9.0, 1.0, 5.0]), 5.0));
        assert!(same(median(&mut [4.0]), 4.0));
    }

    #[test]
    fn the_median_of_an_even_count_is_between_the_middle_two() {
        assert!(same(median(&mut [9.0, 1.0, 5.0, 6.0]), 5.5));
    }

    #[test]
    fn the_median_ignores_one_wild_value() {
        assert!(same(median(&mut [1.0, 1.0, 1.0, 1.0, 1e12]), 1.0));
    }

    #[test]
    fn nothing_has_no_median() {
        assert!(median(&mut []).is_nan());
        assert!(percentile(&mut [], 50.0).is_nan());
        assert!(spread(&mut []).is_nan());
    }

    #[test]
    fn percentiles_are_nearest_rank() {
        let mut values: Vec<f64> = (1..=100).map(f64::from).collect();
        for (percent, expected) in [
            (0.0, 1.0),
            (1.0, 1.0),
            (50.0, 50.0),
            (99.0, 99.0),
            (100.0, 100.0),
        ] {
            assert!(
                same(percentile(&mut values, percent), expected),
                "{percent}"
            );
        }
        assert!(same(percentile(&mut [3.0, 1.0], 50.5), 3.0));
    }

    #[test]
    fn spread_is_relative_to_the_median() {
        assert!(same(spread(&mut [10.0, 9.0, 12.0]), 30.0));
        assert!(same(spread(&mut [10.0]), 0.0));
    }
}
