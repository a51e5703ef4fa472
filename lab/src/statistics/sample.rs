//! Numbers that statistics can be made of.

use super::TestError;

/// At least one number, all of them finite.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// In rising order.
    sorted: Vec<f64>,
}

/// Why numbers are no sample.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SampleError {
    /// There are none.
    #[error("there are no values")]
    Empty,
    /// One is NaN or infinite.
    #[error("value {} is {value}, which is no measurement", .at + 1)]
    NotFinite {
        /// Which, from 0.
        at: usize,
        /// NaN or an infinity.
        value: f64,
    },
}

impl Sample {
    /// Numbers in any order.
    ///
    /// # Errors
    /// There are none, or one is not finite.
    pub fn new(mut values: Vec<f64>) -> Result<Sample, SampleError> {
        if values.is_empty() {
            return Err(SampleError::Empty);
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(SampleError::NotFinite { at, value: values[at] });
        }
        values.sort_unstable_by(f64::total_cmp);
        Ok(Sample { sorted: values })
    }

    /// How many; at least 1.
    pub fn count(&self) -> usize {
        self.sorted.len()
    }

    /// The numbers in rising order.
    pub fn sorted(&self) -> &[f64] {
        &self.sorted
    }

    /// The least.
    pub fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The greatest.
    pub fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The mean. Summed as distances from the least, so that no digits are lost to where the numbers lie.
    pub fn mean(&self) -> f64 {
        self.mean_above(self.min())
    }

    /// The mean's distance from `origin`.
    fn mean_distance(&self, origin: f64) -> f64 {
        let distances = || self.sorted.iter().map(|value| value - origin);
        let count = self.count() as f64;
        let first = distances().sum::<f64>() / count;
        // What rounding left over, once more.
        first + distances().map(|distance| distance - first).sum::<f64>() / count
    }

    fn mean_above(&self, origin: f64) -> f64 {
        origin + self.mean_distance(origin)
    }

    /// Mean's distance from `origin`, and the sum of the squared distances from the mean.
    pub(super) fn moments(&self, origin: f64) -> (f64, f64) {
        let mean = self.mean_distance(origin);
        let (mut squares, mut rest) = (0.0, 0.0);
        for value in &self.sorted {
            let distance = (value - origin) - mean;
            squares += distance * distance;
            rest += distance;
        }
        // The mean is off by `rest / count`, which the squares hold `count` times.
        (mean, (squares - rest * rest / self.count() as f64).max(0.0))
    }

    /// The variance, from the sample's own mean.
    ///
    /// # Errors
    /// There is one value only.
    pub fn variance(&self) -> Result<f64, TestError> {
        if self.count() < 2 {
            return Err(TestError::TooFewValues { least: 2, values: self.count() });
        }
        Ok(self.moments(self.min()).1 / (self.count() - 1) as f64)
    }

    /// Whether all numbers are the same.
    pub fn is_constant(&self) -> bool {
        self.min() == self.max()
    }

    /// The value that the share `of` of the numbers, [0, 1], does not exceed; between two numbers in proportion, as NumPy does.
    pub fn quantile(&self, of: f64) -> f64 {
        let at = of.clamp(0.0, 1.0) * (self.count() - 1) as f64;
        let (low, high) = (self.sorted[at.floor() as usize], self.sorted[at.ceil() as usize]);
        low + (high - low) * at.fract()
    }

    /// Half of the numbers are not greater, half not less.
    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

#[cfg(test)]
impl From<&[f64]> for Sample {
    fn from(values: &[f64]) -> Sample {
        Sample::new(values.to_vec()).expect("finite")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_measurement_is_refused_with_its_place() {
        assert_eq!(Sample::new(vec![]), Err(SampleError::Empty));
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let error = Sample::new(vec![1.0, value]).expect_err("refused");
            assert!(matches!(error, SampleError::NotFinite { at: 1, .. }), "{error}");
            assert!(error.to_string().starts_with("value 2 is "), "{error}");
        }
    }

    #[test]
    fn quantiles_lie_between_values() {
        let sample = Sample::from(&[4.0, 1.0, 3.0, 2.0][..]);
        let check = |of, expected: f64| assert!((sample.quantile(of) - expected).abs() < 1e-12, "{of}");
        check(0.0, 1.0);
        check(0.5, 2.5);
        check(0.95, 3.85);
        check(1.0, 4.0);
        assert_eq!(Sample::from(&[7.0][..]).quantile(0.95), 7.0);
    }

    #[test]
    fn one_value_has_no_variance() {
        assert_eq!(Sample::from(&[7.0][..]).variance(), Err(TestError::TooFewValues { least: 2, values: 1 }));
        assert_eq!(Sample::from(&[0.1; 7][..]).variance(), Ok(0.0));
    }
}
