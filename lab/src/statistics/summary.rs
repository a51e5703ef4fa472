//! One sample in a row of a table.

use serde::Serialize;
use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::Sample;

/// The share of intervals like [`Summary::interval`] that hold the true mean.
const CONFIDENCE: f64 = 0.95;

/// A sample in few numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// How many values.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, with one degree of freedom less than values; `None` of one value.
    pub std: Option<f64>,
    /// The least.
    pub min: f64,
    /// The one in the middle.
    pub median: f64,
    /// 95 of 100 are not greater.
    pub p95: f64,
    /// The greatest.
    pub max: f64,
    /// Where the mean of all that could have been measured lies, with 95 % confidence, by Student's t; `None` of one value.
    pub interval: Option<Interval>,
}

/// From one number to another.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Summary {
    /// What a sample comes to.
    pub fn of(sample: &Sample) -> Summary {
        let (count, mean) = (sample.count(), sample.mean());
        let std = sample.variance().ok().map(f64::sqrt);
        let interval = std.and_then(|std| {
            let student = StudentsT::new(0.0, 1.0, (count - 1) as f64).ok()?;
            let reach = student.inverse_cdf(1.0 - (1.0 - CONFIDENCE) / 2.0) * std / (count as f64).sqrt();
            Some(Interval { low: mean - reach, high: mean + reach })
        });
        Summary {
            count,
            mean,
            std,
            min: sample.min(),
            median: sample.median(),
            p95: sample.quantile(0.95),
            max: sample.max(),
            interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_students() {
        // Table of Student's t: 2.776 for four degrees of freedom.
        let summary = Summary::of(&Sample::from(&[1.0, 2.0, 3.0, 4.0, 5.0][..]));
        let interval = summary.interval.expect("five values");
        let reach = 2.776_445_105_197_793 * 2.5f64.sqrt() / 5f64.sqrt();
        assert!((interval.high - 3.0 - reach).abs() < 1e-9, "{interval:?}");
        assert!((3.0 - interval.low - reach).abs() < 1e-9, "{interval:?}");
        assert_eq!((summary.mean, summary.median, summary.p95), (3.0, 3.0, 4.8));
    }

    #[test]
    fn one_value_has_no_spread_and_equal_ones_have_none() {
        let one = Summary::of(&Sample::from(&[2.5][..]));
        assert_eq!((one.count, one.mean, one.std, one.interval), (1, 2.5, None, None));
        let same = Summary::of(&Sample::from(&[0.1; 20][..]));
        assert_eq!((same.mean, same.std), (0.1, Some(0.0)));
        assert_eq!(same.interval, Some(Interval { low: 0.1, high: 0.1 }));
    }
}
