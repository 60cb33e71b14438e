//! What many rounds say together.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), Spread { median: 2.0, low: 1.0, high: 3.0 });
        assert_eq!(Spread::of([4.0, 1.0]), Spread { median: 2.5, low: 1.0, high: 4.0 });
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let ratios = Spread::of_ratios([10.0, 2.0, 30.0], [20.0, 4.0, 60.0]);
        assert_eq!(ratios, Spread { median: 0.5, low: 0.5, high: 0.5 });
    }
}
