//! Medians.

/// The value in the middle; nothing is 0.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    spread(values)[1]
}

/// The least, the one in the middle, the most.
pub(crate) fn spread(values: impl Iterator<Item = f64>) -> [f64; 3] {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |index: usize| values.get(index).copied().unwrap_or_default();
    [at(0), at(values.len() / 2), at(values.len().saturating_sub(1))]
}
