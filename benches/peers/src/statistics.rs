//! The little arithmetic that all groups share.

/// The one in the middle; of an even number the upper of the two.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// The median of what `one` cost more than `other` in the same round.
pub(crate) fn median_over(one: &[f64], other: &[f64]) -> f64 {
    median(one.iter().zip(other).map(|(one, other)| one - other))
}

/// The median of what `one` cost by what `other` did in the same round.
pub(crate) fn median_times(one: &[f64], other: &[f64]) -> f64 {
    median(one.iter().zip(other).map(|(one, other)| one / other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_is_not_moved_by_a_round_that_was_disturbed() {
        assert_eq!(median([3.0, 1.0, 9_000.0]), 3.0);
        assert_eq!(median([2.0, 1.0, 4.0, 3.0]), 3.0);
    }

    #[test]
    fn rounds_are_compared_with_themselves_and_not_with_each_other() {
        // The second round was slow for both.
        let (ours, theirs) = ([20.0, 200.0, 22.0], [10.0, 100.0, 11.0]);
        assert_eq!(median_times(&ours, &theirs), 2.0);
        assert_eq!(median_over(&ours, &theirs), 11.0);
    }
}
