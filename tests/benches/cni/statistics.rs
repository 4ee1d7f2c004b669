//! Medians, tails and intervals.

/// The value below which `percent` of a hundred lie; the largest of a few.
pub(crate) fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let index = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(index).copied().expect("samples")
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> f64 {
    quantile(values, 50)
}

/// An interval that holds the true median of what `values` were drawn from with at least 95 %
/// confidence, whatever its distribution: between two of the sorted values, by the binomial of how many
/// of them lie below the median.
pub(crate) fn median_interval(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let count = sorted.len();
    let (mut below, mut term, mut rank) = (0.0, 0.5f64.powi(i32::try_from(count).expect("few")), 0);
    // `term` is the chance that exactly `rank` values lie below.
    while below + term <= 0.025 {
        below += term;
        term *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    let last = rank.saturating_sub(1);
    (sorted[last], sorted[count - 1 - last])
}
