//! A logarithmic scale: figures that differ by a factor of a thousand are on one plot, and a ratio is a distance.

use crate::number::number;

/// From one power of ten to another, laid over a line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl Scale {
    /// A scale on which everything in `[low, high]`, both positive, has a place between `left` and `right`.
    pub(crate) fn new(low: f64, high: f64, left: f64, right: f64) -> Scale {
        let low = low.log10().floor();
        // At least one power, so that a single figure has a place too.
        Scale { low, high: high.log10().ceil().max(low + 1.0), left, right }
    }

    /// Where a figure is.
    pub(crate) fn at(&self, value: f64) -> f64 {
        self.left + (value.log10() - self.low) / (self.high - self.low) * (self.right - self.left)
    }

    /// A power of ten as it stands beside the scale: short, and in full where [`number`] would round it to nothing.
    pub(crate) fn name(power: f64) -> String {
        if power < 1e-3 {
            format!("{power:e}")
        } else if power < 100.0 {
            format!("{power}")
        } else {
            number(power)
        }
    }

    /// The powers of ten from end to end.
    pub(crate) fn powers(&self) -> impl Iterator<Item = f64> + use<> {
        (self.low as i32..=self.high as i32).map(|power| 10f64.powi(power))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_is_a_distance() {
        let scale = Scale::new(2.0, 800.0, 0.0, 300.0);
        assert_eq!([1.0, 10.0, 1000.0].map(|value| scale.at(value)), [0.0, 100.0, 300.0]);
        assert_eq!(scale.powers().collect::<Vec<_>>(), [1.0, 10.0, 100.0, 1000.0]);
        let names = [1e-4, 0.01, 1.0, 10.0, 1e5].map(Scale::name);
        assert_eq!(names, ["1e-4", "0.01", "1", "10", "100,000"]);
        let one = Scale::new(10.0, 10.0, 0.0, 1.0);
        assert_eq!((one.at(10.0), one.at(100.0)), (0.0, 1.0));
    }
}
