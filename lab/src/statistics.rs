//! What the numbers of an experiment say, and how sure one may be of it.
//!
//! | part | has |
//! |---|---|
//! | [`Sample`] | numbers that were checked: some, and all of them finite |
//! | [`Summary`] | mean, spread, quantiles, the mean's confidence interval |
//! | [`Anova`] | whether means differ at all, and by how much of the spread |
//! | [`Welch`] | whether two means differ, without equal variances; effect sizes |
//! | [`KruskalWallis`], [`MannWhitney`] | the same by ranks, which asks nothing of the distributions |
//! | [`Normality`], [`Variances`] | whether the assumptions of the first two hold |
//! | [`holm()`] | probabilities for many tests at once |
//! | [`Comparison`] | all of it for the groups of an experiment, with warnings |
//!
//! Distribution functions are `statrs`'; the sums are ours, because sums of squares lose all digits where numbers lie close together and
//! far from zero (NIST's reference data, in the tests, find that out). A test that has no answer gives a [`TestError`] and never NaN.
//! It refuses to know what was measured.

mod anova;
mod comparison;
mod holm;
mod normality;
mod ranks;
mod sample;
mod summary;
mod variances;
mod welch;

pub use anova::Anova;
pub use comparison::{Comparison, Group, Pair, SIGNIFICANCE, Tested, Warning};
pub use holm::holm;
pub use normality::Normality;
pub use ranks::{KruskalWallis, MannWhitney};
pub use sample::{Sample, SampleError};
pub use summary::{Interval, Summary};
pub use variances::Variances;
pub use welch::Welch;

/// Why a test has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestError {
    /// There is nothing to compare with.
    #[error("it needs at least two groups, and there is {groups}")]
    TooFewGroups {
        /// How many there are.
        groups: usize,
    },
    /// A spread cannot be told from so few numbers.
    #[error("it needs at least {least} values where there are {values}")]
    TooFewValues {
        /// How many it needs.
        least: usize,
        /// How many there are.
        values: usize,
    },
    /// The method is not known to hold for so many numbers.
    #[error("it holds for at most {most} values, and there are {values}")]
    TooManyValues {
        /// How many it can take.
        most: usize,
        /// How many there are.
        values: usize,
    },
    /// Every value is the same as the others of its group: any difference would be certain, or there is none.
    #[error("the values do not vary")]
    Constant,
}

#[cfg(test)]
mod nist;
