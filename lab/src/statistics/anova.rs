//! One-way analysis of variance: how much of the spread is between the groups, and how likely that is by chance.

use serde::Serialize;
use statrs::function::beta::beta_reg;

use super::{Sample, TestError};

/// What the analysis found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Anova {
    /// The spread between the groups over the spread within, each per degree of freedom.
    pub f: f64,
    /// The chance of such an `f` or a greater one if all means were the same.
    pub p: f64,
    /// Degrees of freedom between the groups.
    pub between: usize,
    /// Degrees of freedom within the groups.
    pub within: usize,
    /// Which share of the squared spread the groups explain, [0, 1].
    pub eta_squared: f64,
    /// The same without what chance alone explains, which makes it the smaller one; 0 if that is all.
    pub omega_squared: f64,
}

impl Anova {
    /// Whether the means of these groups differ.
    ///
    /// # Errors
    /// There are fewer than two groups, no group has a second value, or no group varies.
    pub fn of(groups: &[&Sample]) -> Result<Anova, TestError> {
        let count: usize = groups.iter().map(|group| group.count()).sum();
        if groups.len() < 2 {
            return Err(TestError::TooFewGroups { groups: groups.len() });
        }
        if count <= groups.len() {
            return Err(TestError::TooFewValues { least: groups.len() + 1, values: count });
        }
        if groups.iter().all(|group| group.is_constant()) {
            return Err(TestError::Constant);
        }
        // Distances from one of the values: where the values lie costs no digits.
        let origin = groups[0].min();
        let moments: Vec<(f64, f64, f64)> = groups
            .iter()
            .map(|group| {
                let (mean, squares) = group.moments(origin);
                (group.count() as f64, mean, squares)
            })
            .collect();
        let grand = moments.iter().map(|(count, mean, _)| count * mean).sum::<f64>() / count as f64;
        let squares_between: f64 =
            moments.iter().map(|(count, mean, _)| count * (mean - grand).powi(2)).sum();
        let squares_within: f64 = moments.iter().map(|(_, _, squares)| squares).sum();
        let (between, within) = (groups.len() - 1, count - groups.len());
        let noise = squares_within / within as f64;
        // Differences too small for their squares to be numbers.
        if noise <= 0.0 {
            return Err(TestError::Constant);
        }
        let f = squares_between / between as f64 / noise;
        let all = squares_between + squares_within;
        let omega_squared = (squares_between - between as f64 * noise) / (all + noise);
        Ok(Anova {
            f,
            p: tail(f, between as f64, within as f64),
            between,
            within,
            eta_squared: squares_between / all,
            omega_squared: omega_squared.max(0.0),
        })
    }
}

/// The chance of an F of `f` or more. By the upper tail's own form, whose argument goes to zero instead of one: probabilities far
/// below what one minus something could show stay exact.
fn tail(f: f64, between: f64, within: f64) -> f64 {
    beta_reg(within / 2.0, between / 2.0, within / (within + between * f)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example_comes_out() {
        // Three groups of six from a textbook: F(2, 15) = 9.3.
        let groups = [
            [6.0, 8.0, 4.0, 5.0, 3.0, 4.0],
            [8.0, 12.0, 9.0, 11.0, 6.0, 8.0],
            [13.0, 9.0, 11.0, 8.0, 7.0, 12.0],
        ]
        .map(|values| Sample::from(&values[..]));
        let anova = Anova::of(&groups.each_ref()).expect("it varies");
        assert!((anova.f - 9.264_705_882_352_94).abs() < 1e-12, "{anova:?}");
        assert!((anova.p - 0.002_398_777_329_392_9).abs() < 1e-12, "{anova:?}");
        assert!((anova.eta_squared - 84.0 / 152.0).abs() < 1e-12, "{anova:?}");
        assert_eq!((anova.between, anova.within), (2, 15));
    }

    #[test]
    fn small_probabilities_are_not_cut_off() {
        // F(1, 18) = 180000: far below 1e-16.
        let group = |add: f64| Sample::new((0..10).map(|at| f64::from(at) + add).collect()).expect("finite");
        let anova = Anova::of(&[&group(0.0), &group(1000.0)]).expect("it varies");
        assert!(anova.p > 0.0 && anova.p < 1e-30, "{anova:?}");
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let one = Sample::from(&[1.0][..]);
        let two = Sample::from(&[2.0][..]);
        let same = Sample::from(&[3.0; 5][..]);
        assert_eq!(Anova::of(&[]), Err(TestError::TooFewGroups { groups: 0 }));
        assert_eq!(Anova::of(&[&same]), Err(TestError::TooFewGroups { groups: 1 }));
        assert_eq!(Anova::of(&[&one, &two]), Err(TestError::TooFewValues { least: 3, values: 2 }));
        assert_eq!(Anova::of(&[&one, &same]), Err(TestError::Constant));
        let tiny = Sample::from(&[0.0, 1e-200][..]);
        assert_eq!(Anova::of(&[&tiny, &tiny]), Err(TestError::Constant));
    }
}
