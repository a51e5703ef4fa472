//! Tests that look at the order of the values only, and so hold for every distribution: Kruskal and Wallis of many groups, Mann
//! and Whitney of two.

use serde::Serialize;
use statrs::distribution::{ChiSquared, ContinuousCDF as _, Normal};

use super::{Sample, TestError};

/// Whether any group tends to other values than the rest.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KruskalWallis {
    /// How far the groups' mean ranks are apart, corrected for ties.
    pub h: f64,
    /// The chance of such an `h` or a greater one if all groups were alike, by the chi-squared distribution.
    pub p: f64,
    /// Degrees of freedom.
    pub freedom: usize,
}

/// Whether one sample tends to greater values than the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MannWhitney {
    /// How many pairs have the greater value in the first sample; ties count half.
    pub u: f64,
    /// The chance of such a `u` or one further from the middle if both samples were alike.
    pub p: f64,
    /// From -1, all of the first are smaller, to 1, all are greater.
    pub rank_biserial: f64,
}

/// With more values than this in both samples, the normal distribution is close enough; so says SciPy's "auto" too.
const EXACT_VALUES_MAX: usize = 8;

/// A tie in the ranks of all values: how many values share a rank, of each rank that is shared.
struct Ranked {
    /// The sum of the ranks of each group.
    sums: Vec<f64>,
    /// The sum of t³ - t over all ties.
    ties: f64,
    count: f64,
}

fn rank(groups: &[&Sample]) -> Ranked {
    let mut all: Vec<(f64, usize)> = groups
        .iter()
        .enumerate()
        .flat_map(|(group, sample)| sample.sorted().iter().map(move |value| (*value, group)))
        .collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (mut sums, mut ties, mut before) = (vec![0.0; groups.len()], 0.0, 0);
    // Not by total_cmp: -0 and 0 are the same measurement.
    for tied in all.chunk_by(|a, b| a.0 == b.0) {
        let size = tied.len() as f64;
        let rank = before as f64 + (size + 1.0) / 2.0;
        tied.iter().for_each(|(_, group)| sums[*group] += rank);
        ties += size.powi(3) - size;
        before += tied.len();
    }
    Ranked { sums, ties, count: all.len() as f64 }
}

impl KruskalWallis {
    /// Whether the groups are alike.
    ///
    /// # Errors
    /// There are fewer than two groups, or all values are the same.
    pub fn of(groups: &[&Sample]) -> Result<KruskalWallis, TestError> {
        if groups.len() < 2 {
            return Err(TestError::TooFewGroups { groups: groups.len() });
        }
        let Ranked { sums, ties, count } = rank(groups);
        let correction = 1.0 - ties / (count.powi(3) - count);
        if correction <= 0.0 {
            return Err(TestError::Constant);
        }
        // From the mean rank: the textbook's difference of large sums would lose digits.
        let middle = (count + 1.0) / 2.0;
        let spread: f64 = groups
            .iter()
            .zip(&sums)
            .map(|(group, sum)| {
                let size = group.count() as f64;
                size * (sum / size - middle).powi(2)
            })
            .sum();
        let h = 12.0 / (count * (count + 1.0)) * spread / correction;
        let freedom = groups.len() - 1;
        let chi = ChiSquared::new(freedom as f64).map_err(|_| TestError::Constant)?;
        Ok(KruskalWallis { h, p: chi.sf(h).clamp(0.0, 1.0), freedom })
    }
}

impl MannWhitney {
    /// Whether two samples are alike. Exact for small samples without ties, else by the normal distribution with correction for
    /// continuity and ties.
    ///
    /// # Errors
    /// All values are the same.
    pub fn of(first: &Sample, second: &Sample) -> Result<MannWhitney, TestError> {
        let Ranked { sums, ties, count } = rank(&[first, second]);
        let (n1, n2) = (first.count(), second.count());
        let pairs = n1 as f64 * n2 as f64;
        let u = sums[0] - n1 as f64 * (n1 as f64 + 1.0) / 2.0;
        let far = u.max(pairs - u);
        let small = n1.min(n2) <= EXACT_VALUES_MAX && n1.max(n2) <= EXACT_OTHER_MAX;
        let p = if small && ties == 0.0 {
            2.0 * exact_tail(far as usize, n1, n2)
        } else {
            let variance = pairs / 12.0 * ((count + 1.0) - ties / (count * (count - 1.0)));
            if variance <= 0.0 {
                return Err(TestError::Constant);
            }
            2.0 * Normal::standard().sf((far - pairs / 2.0 - 0.5) / variance.sqrt())
        };
        Ok(MannWhitney { u, p: p.clamp(0.0, 1.0), rank_biserial: 2.0 * u / pairs - 1.0 })
    }
}

/// With more values than this in the other sample an exact answer would take seconds, and nobody could tell the difference.
const EXACT_OTHER_MAX: usize = 200;

/// The chance of a U of at least `u` if all orders of `n1` and `n2` different values are as likely.
fn exact_tail(u: usize, n1: usize, n2: usize) -> f64 {
    let (few, many) = (n1.min(n2), n1.max(n2));
    // Chances of every U with the first I values of the larger sample, for every size of the smaller one: the greatest value of
    // all is in one sample or the other.
    let mut chances: Vec<Vec<f64>> = vec![vec![1.0]; few + 1];
    for size in 1..=many {
        let mut next: Vec<Vec<f64>> = vec![vec![1.0]];
        for small in 1..=few {
            let all = (small + size) as f64;
            let mut row = vec![0.0; small * size + 1];
            // The greatest is in the smaller sample: it exceeds all `size` others.
            for (at, chance) in next[small - 1].iter().enumerate() {
                row[at + size] += chance * small as f64 / all;
            }
            for (at, chance) in chances[small].iter().enumerate() {
                row[at] += chance * size as f64 / all;
            }
            next.push(row);
        }
        chances = next;
    }
    chances[few].iter().skip(u).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-9, "{found} {expected}");
    }

    #[test]
    fn exact_chances_are_those_of_the_tables() {
        // Mann and Whitney (1947), n = m = 3: U = 9 in one of twenty orders; n = m = 4: U >= 15 in two of seventy.
        close(exact_tail(9, 3, 3), 1.0 / 20.0);
        close(exact_tail(15, 4, 4), 2.0 / 70.0);
        close(exact_tail(0, 8, 20), 1.0);
        close(exact_tail(12, 3, 4), 1.0 / 35.0);
        close(exact_tail(12, 4, 3), 1.0 / 35.0);
    }

    #[test]
    fn a_published_example_comes_out() {
        // The example of SciPy's page: ages at diagnosis of diabetes. U = 17, exact p = 0.111.
        let males = Sample::from(&[19.0, 22.0, 16.0, 29.0, 24.0][..]);
        let females = Sample::from(&[20.0, 11.0, 17.0, 12.0][..]);
        let found = MannWhitney::of(&males, &females).expect("they vary");
        assert_eq!(found.u, 17.0);
        close(found.p, 0.111_111_111_111_111);
        close(found.rank_biserial, 0.7);
    }

    #[test]
    fn ties_are_corrected_for() {
        // With all values tied nothing can be said; with some, H is what the textbook's correction gives.
        let same = Sample::from(&[1.0; 5][..]);
        assert_eq!(KruskalWallis::of(&[&same, &same]), Err(TestError::Constant));
        assert_eq!(MannWhitney::of(&same, &same), Err(TestError::Constant));
        let groups =
            [[1.0, 3.0, 5.0, 7.0, 9.0], [2.0, 4.0, 6.0, 8.0, 10.0]].map(|values| Sample::from(&values[..]));
        // The example of SciPy's page.
        let found = KruskalWallis::of(&groups.each_ref()).expect("they vary");
        close(found.h, 0.272_727_272_727_272);
        close(found.p, 0.601_508_134_440_593);
    }

    #[test]
    fn one_value_against_one_is_answered() {
        let (one, two) = (Sample::from(&[1.0][..]), Sample::from(&[2.0][..]));
        assert_eq!(MannWhitney::of(&one, &two).expect("they differ").p, 1.0);
        assert!(KruskalWallis::of(&[&one, &two]).is_ok());
        assert_eq!(MannWhitney::of(&one, &one), Err(TestError::Constant));
    }
}
