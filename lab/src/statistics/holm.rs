//! Holm's correction: with many tests some are significant by chance, so each probability is raised by how many there are.

/// The probabilities of a family of tests, so corrected that the chance of a single wrong rejection among all of them stays what it
/// is for one. In the order they came in; each is in [0, 1].
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = vec![0.0; p.len()];
    let mut highest = 0.0f64;
    for (rank, at) in order.into_iter().enumerate() {
        // A larger probability never comes out below a smaller one.
        highest = highest.max((p.len() - rank) as f64 * p[at]).min(1.0);
        adjusted[at] = highest;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_published_example_comes_out() {
        // Holm (1979) as it is usually shown: R's p.adjust(c(.01, .02, .03, .005, .5), "holm").
        let adjusted = holm(&[0.01, 0.02, 0.03, 0.005, 0.5]);
        let expected = [0.04, 0.06, 0.06, 0.025, 0.5];
        for (adjusted, expected) in adjusted.iter().zip(expected) {
            assert!((adjusted - expected).abs() < 1e-12, "{adjusted} {expected}");
        }
    }

    #[test]
    fn nothing_exceeds_one_and_nothing_is_fine() {
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert_eq!(holm(&[]), Vec::<f64>::new());
    }
}
