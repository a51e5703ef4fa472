//! The Shapiro-Wilk test: whether a sample looks as if it came from a normal distribution. It finds more departures in samples
//! of some twenty than any other test, and that is how many runs a configuration has.
//!
//! After Royston, "Remark AS R94", Applied Statistics 44 (1995); the constants are from there.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, Normal};

use super::{Sample, TestError};

/// Royston's approximation holds from 3 values to so many.
const VALUES_MAX: usize = 5000;
/// Below that nothing can be said.
const VALUES_MIN: usize = 3;

/// What the test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Normality {
    /// Shapiro and Wilk's W, (0, 1]; 1 is as normal as can be.
    pub w: f64,
    /// The chance of such a `w` or a lesser one if the values were normal.
    pub p: f64,
}

impl Normality {
    /// Whether a sample looks normal.
    ///
    /// # Errors
    /// It has fewer than 3 values or more than 5000, or does not vary.
    pub fn of(sample: &Sample) -> Result<Normality, TestError> {
        let count = sample.count();
        if count < VALUES_MIN {
            return Err(TestError::TooFewValues { least: VALUES_MIN, values: count });
        }
        if count > VALUES_MAX {
            return Err(TestError::TooManyValues { most: VALUES_MAX, values: count });
        }
        let weights = weights(count);
        let sorted = sample.sorted();
        let reach: f64 = weights
            .iter()
            .enumerate()
            .map(|(at, weight)| weight * (sorted[count - 1 - at] - sorted[at]))
            .sum();
        let (_, squares) = sample.moments(sample.min());
        if squares <= 0.0 {
            return Err(TestError::Constant);
        }
        let w = (reach * reach / squares).min(1.0);
        Ok(Normality { w, p: probability(w, count) })
    }
}

/// Coefficients from the lowest power up.
fn polynomial(coefficients: &[f64], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// The weight of the distance between the I-th least and the I-th greatest value.
fn weights(count: usize) -> Vec<f64> {
    if count == 3 {
        return vec![0.5f64.sqrt()];
    }
    let n = count as f64;
    let normal = Normal::standard();
    // Where the values would be expected.
    let expected: Vec<f64> =
        (1..=count / 2).map(|rank| -normal.inverse_cdf((rank as f64 - 0.375) / (n + 0.25))).collect();
    let squares = 2.0 * expected.iter().map(|value| value * value).sum::<f64>();
    let (length, root) = (squares.sqrt(), 1.0 / n.sqrt());
    let outermost = [
        polynomial(&[0.0, 0.221_157, -0.147_981, -2.071_19, 4.434_685, -2.706_056], root)
            + expected[0] / length,
        polynomial(&[0.0, 0.042_981, -0.293_762, -1.752_461, 5.682_633, -3.582_633], root)
            + expected[1] / length,
    ];
    // The outermost are corrected, the others share what is left of the length of one.
    let corrected = if count > 5 { 2 } else { 1 };
    let used: f64 = outermost[..corrected].iter().map(|weight| 2.0 * weight * weight).sum();
    let left: f64 = expected[..corrected].iter().map(|value| 2.0 * value * value).sum();
    let scale = ((squares - left) / (1.0 - used)).sqrt();
    let inner = expected[corrected..].iter().map(|value| value / scale);
    outermost[..corrected].iter().copied().chain(inner).collect()
}

fn probability(w: f64, count: usize) -> f64 {
    let n = count as f64;
    if count == 3 {
        // Exact.
        let least = 0.75f64.sqrt().asin();
        return (6.0 / std::f64::consts::PI * (w.sqrt().asin() - least)).clamp(0.0, 1.0);
    }
    let distance = (1.0 - w).ln();
    let (y, mean, deviation) = if count <= 11 {
        let bound = polynomial(&[-2.273, 0.459], n);
        if distance >= bound {
            return 0.0;
        }
        (
            -(bound - distance).ln(),
            polynomial(&[0.544, -0.399_78, 0.025_054, -6.714e-4], n),
            polynomial(&[1.382_2, -0.778_57, 0.062_767, -0.002_032_2], n).exp(),
        )
    } else {
        let log = n.ln();
        (
            distance,
            polynomial(&[-1.586_1, -0.310_82, -0.083_751, 0.003_891_5], log),
            polynomial(&[-0.480_3, -0.082_676, 0.003_030_2], log).exp(),
        )
    };
    Normal::standard().sf((y - mean) / deviation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weights_published_examples_come_out() {
        // Weights of men in pounds, Shapiro and Wilk (1965): W = 0.79, as rounded there; p below 0.01.
        let weights = [148.0, 154.0, 158.0, 160.0, 161.0, 162.0, 166.0, 170.0, 182.0, 195.0, 236.0];
        let found = Normality::of(&Sample::from(&weights[..])).expect("it varies");
        assert!((found.w - 0.79).abs() < 0.005, "{found:?}");
        assert!(found.p < 0.01, "{found:?}");
    }

    #[test]
    fn what_is_as_expected_is_normal_and_an_outlier_is_not() {
        let normal = Normal::standard();
        let mut values: Vec<f64> = (1..=20).map(|rank| normal.inverse_cdf(f64::from(rank) / 21.0)).collect();
        let found = |values: &[f64]| Normality::of(&Sample::from(values)).expect("it varies").p;
        assert!(found(&values) > 0.9);
        values[0] = 400.0;
        assert!(found(&values) < 1e-6);
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let of = |values: Vec<f64>| Normality::of(&Sample::new(values).expect("finite"));
        assert_eq!(of(vec![1.0, 2.0]), Err(TestError::TooFewValues { least: 3, values: 2 }));
        assert_eq!(of(vec![1.0; 20]), Err(TestError::Constant));
        assert_eq!(
            of((0..5001).map(f64::from).collect()),
            Err(TestError::TooManyValues { most: 5000, values: 5001 })
        );
        assert!(of(vec![1.0, 2.0, 3.0]).is_ok());
        assert!(of(vec![1.0, 1.0, 1.0, 2.0]).is_ok());
    }
}
