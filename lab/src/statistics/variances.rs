//! Brown and Forsythe's test: whether groups vary alike, which an analysis of variance takes for granted. It is an analysis of
//! variance of the distances from the groups' medians, and so does not ask for normal values itself (Levene's test by means does).

use serde::Serialize;

use super::{Anova, Sample, TestError};

/// What the test found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Variances {
    /// The F of the distances.
    pub f: f64,
    /// The chance of such an `f` or a greater one if all groups varied alike.
    pub p: f64,
}

impl Variances {
    /// Whether groups vary alike.
    ///
    /// # Errors
    /// There are fewer than two groups, or too few values, or none that vary.
    pub fn of(groups: &[&Sample]) -> Result<Variances, TestError> {
        let distances: Vec<Sample> = groups
            .iter()
            .map(|group| {
                let median = group.median();
                let distances = group.sorted().iter().map(|value| (value - median).abs()).collect();
                // Distances of finite numbers are infinite only where the numbers fill the whole range of the type.
                Sample::new(distances).map_err(|_| TestError::Constant)
            })
            .collect::<Result<_, _>>()?;
        let anova = Anova::of(&distances.iter().collect::<Vec<_>>())?;
        Ok(Variances { f: anova.f, p: anova.p })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unequal_spreads_are_found_and_equal_ones_are_not() {
        let group =
            |scale: f64| Sample::new((0..20).map(|at| f64::from(at) * scale).collect()).expect("finite");
        let found = |one: f64, other: f64| Variances::of(&[&group(one), &group(other)]).expect("they vary").p;
        assert!(found(1.0, 1.0) > 0.99);
        assert!(found(1.0, 100.0) < 1e-6);
    }

    #[test]
    fn what_has_no_answer_says_why() {
        let same = Sample::from(&[1.0; 4][..]);
        assert_eq!(Variances::of(&[&same, &same]), Err(TestError::Constant));
        let wide = Sample::from(&[f64::MIN, f64::MAX][..]);
        assert_eq!(Variances::of(&[&wide, &wide]), Err(TestError::Constant));
    }
}
