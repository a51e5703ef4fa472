//! Welch's t-test of two means, which does not ask that both samples vary alike, and how large the difference is.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::{Sample, TestError};

/// What the test found of the first sample against the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Welch {
    /// The first mean less the second.
    pub difference: f64,
    /// The difference in units of its standard error.
    pub t: f64,
    /// Degrees of freedom, by Welch and Satterthwaite.
    pub freedom: f64,
    /// The chance of such a difference or a greater one, to either side, if the means were the same.
    pub p: f64,
    /// Cohen's d: the difference in units of the standard deviation of both together.
    pub cohen_d: f64,
    /// Hedges' g: Cohen's d without its bias in small samples.
    pub hedges_g: f64,
}

impl Welch {
    /// Whether the means of two samples differ.
    ///
    /// # Errors
    /// A sample has fewer than two values, or neither varies.
    pub fn of(first: &Sample, second: &Sample) -> Result<Welch, TestError> {
        let (n1, n2) = (first.count() as f64, second.count() as f64);
        let (variance1, variance2) = (first.variance()?, second.variance()?);
        let (error1, error2) = (variance1 / n1, variance2 / n2);
        let freedom = (error1 + error2).powi(2) / (error1.powi(2) / (n1 - 1.0) + error2.powi(2) / (n2 - 1.0));
        let difference = first.mean() - second.mean();
        let t = difference / (error1 + error2).sqrt();
        // No spread at all, or one too small for its square to be a number.
        if !(t.is_finite() && freedom.is_finite()) {
            return Err(TestError::Constant);
        }
        let student = StudentsT::new(0.0, 1.0, freedom).map_err(|_| TestError::Constant)?;
        let pooled = ((n1 - 1.0) * variance1 + (n2 - 1.0) * variance2) / (n1 + n2 - 2.0);
        let cohen_d = difference / pooled.sqrt();
        let correction = 1.0 - 3.0 / (4.0 * (n1 + n2 - 2.0) - 1.0);
        Ok(Welch {
            difference,
            t,
            freedom,
            p: (2.0 * student.sf(t.abs())).clamp(0.0, 1.0),
            cohen_d,
            hedges_g: cohen_d * correction,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worked_example_comes_out() {
        // Unequal spreads; figures as SciPy 1.16 has them.
        let first =
            [27.5, 21.0, 19.0, 23.6, 17.0, 17.9, 16.9, 20.1, 21.9, 22.6, 23.1, 19.6, 19.0, 21.7, 21.4];
        let second =
            [27.1, 22.0, 20.8, 23.4, 23.4, 23.5, 25.8, 22.0, 24.8, 20.2, 21.9, 22.1, 22.9, 30.5, 24.4];
        let welch = Welch::of(&Sample::from(&first[..]), &Sample::from(&second[..])).expect("they vary");
        assert!((welch.t + 2.852_954_870_171_521_5).abs() < 1e-12, "{welch:?}");
        assert!((welch.freedom - 27.887_303_988_420_12).abs() < 1e-9, "{welch:?}");
        assert!((welch.p - 0.008_071_938_172_194_901).abs() < 1e-12, "{welch:?}");
    }

    #[test]
    fn a_sample_that_does_not_vary_can_be_compared_with_one_that_does() {
        let same = Sample::from(&[3.0; 5][..]);
        let other = Sample::from(&[1.0, 2.0, 3.0, 4.0, 5.5][..]);
        let welch = Welch::of(&same, &other).expect("one varies");
        assert!((welch.freedom - 4.0).abs() < 1e-12, "{welch:?}");
        assert_eq!(Welch::of(&same, &same), Err(TestError::Constant));
        assert_eq!(Welch::of(&same, &Sample::from(&[4.0; 3][..])), Err(TestError::Constant));
        let one = Sample::from(&[3.0][..]);
        assert_eq!(Welch::of(&one, &other), Err(TestError::TooFewValues { least: 2, values: 1 }));
    }
}
