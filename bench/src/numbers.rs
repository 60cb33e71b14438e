//! Statistics over many rounds.

use std::collections::BTreeMap;

use serde::Serialize;

/// The middle of several values, the least and the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

impl Spread {
    /// `values` has one at least, and no NaN.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median =
            if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Spread { median, low: values[0], high: values[values.len() - 1] }
    }

    /// The first of `one` to the first of `other`, the second to the second …: what hit a whole round cancels out.
    pub fn of_ratios(one: impl IntoIterator<Item = f64>, other: impl IntoIterator<Item = f64>) -> Self {
        Self::of(one.into_iter().zip(other).map(|(one, other)| one / other))
    }
}

/// The percentile: the value that this share of all values (0.99: 99 %) does not exceed. Each pair is a value and its
/// count.
pub fn percentile(part: f64, pairs: impl IntoIterator<Item = (u32, u32)>) -> Option<u32> {
    let mut counts = BTreeMap::new();
    for (value, count) in pairs {
        *counts.entry(value).or_insert(0.0) += f64::from(count);
    }
    let enough = part * counts.values().sum::<f64>();
    let mut seen = 0.0;
    counts.into_iter().find_map(|(value, count)| {
        seen += count;
        (seen >= enough).then_some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Spread { median: 2.5, low: 1.0, high: 4.0 });
    }

    #[test]
    fn a_percentile_counts_each_value_as_often_as_it_is_there() {
        assert_eq!(percentile(0.99, [(5, 1), (1, 98), (3, 1)]), Some(3));
        assert_eq!(percentile(0.99, [(1, 50), (9, 2), (1, 48)]), Some(9));
        assert_eq!(percentile(0.99, []), None);
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratios = Spread::of_ratios([10.0, 2.0, 30.0], [20.0, 4.0, 60.0]);
        assert_eq!(ratios, Spread { median: 0.5, low: 0.5, high: 0.5 });
    }
}
