//! Everything about the groups of an experiment: summaries, tests of all together and of every pair, and warnings where the
//! tests take for granted what is not so.

use serde::{Serialize, Serializer};

use super::{
    Anova, KruskalWallis, MannWhitney, Normality, Sample, Summary, TestError, Variances, Welch, holm,
};

/// A difference is called significant below this probability. The custom, and what the protocol's scripts use.
pub const SIGNIFICANCE: f64 = 0.05;

/// With fewer values in a group, a test finds large effects only, and the tests of assumptions find next to nothing.
const VALUES_FEW: usize = 8;

/// What a test found, or why it found nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Tested<T>(pub Result<T, TestError>);

impl<T> Tested<T> {
    /// What it found.
    pub fn found(&self) -> Option<&T> {
        self.0.as_ref().ok()
    }
}

/// What was found, or an object with the reason.
impl<T: Serialize> Serialize for Tested<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Reason {
            not_computed: String,
        }
        match &self.0 {
            Ok(found) => found.serialize(serializer),
            Err(error) => Reason { not_computed: error.to_string() }.serialize(serializer),
        }
    }
}

/// A group and what can be said about it alone.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its numbers in few.
    pub summary: Summary,
    /// Whether they look normal.
    pub normality: Tested<Normality>,
}

/// Two groups against each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    /// The first group's name.
    pub first: String,
    /// The second group's name.
    pub second: String,
    /// By means.
    pub welch: Tested<Welch>,
    /// `welch`'s probability by Holm's correction over all pairs that could be tested.
    pub welch_holm: Option<f64>,
    /// By ranks.
    pub mann_whitney: Tested<MannWhitney>,
    /// `mann_whitney`'s probability by Holm's correction over all pairs that could be tested.
    pub mann_whitney_holm: Option<f64>,
}

/// What a reader must know before believing a test.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Warning {
    /// Groups are too small.
    #[error(
        "{groups} of the groups have fewer than {VALUES_FEW} values: only large effects can be found, and nobody can tell whether \
         the assumptions hold"
    )]
    FewValues {
        /// How many groups.
        groups: usize,
    },
    /// Groups do not look normal.
    #[error("not normal by Shapiro and Wilk (p < {SIGNIFICANCE}): {}; rather believe the tests by ranks", names.join(", "))]
    NotNormal {
        /// Which.
        names: Vec<String>,
    },
    /// Groups do not vary alike.
    #[error(
        "the groups do not vary alike by Brown and Forsythe (p < {SIGNIFICANCE}): the analysis of variance takes that for granted; \
         Welch's tests do not"
    )]
    UnequalVariances,
    /// Groups that do not vary at all.
    #[error("these do not vary at all: {}", names.join(", "))]
    Constant {
        /// Which.
        names: Vec<String>,
    },
}

/// Groups compared by one figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The groups, in the order they were given.
    pub groups: Vec<Group>,
    /// Whether any mean differs.
    pub anova: Tested<Anova>,
    /// Whether the groups vary alike.
    pub variances: Tested<Variances>,
    /// Whether any group differs, by ranks.
    pub kruskal_wallis: Tested<KruskalWallis>,
    /// Every group against every later one.
    pub pairs: Vec<Pair>,
    /// What to mind.
    pub warnings: Vec<Warning>,
}

impl Comparison {
    /// Compares groups by their names.
    pub fn of(groups: &[(String, Sample)]) -> Comparison {
        let samples: Vec<&Sample> = groups.iter().map(|(_, sample)| sample).collect();
        let described: Vec<Group> = groups
            .iter()
            .map(|(name, sample)| Group {
                name: name.clone(),
                summary: Summary::of(sample),
                normality: Tested(Normality::of(sample)),
            })
            .collect();
        let variances = Tested(Variances::of(&samples));
        let warnings = warnings(groups, &described, &variances);
        Comparison {
            groups: described,
            anova: Tested(Anova::of(&samples)),
            variances,
            kruskal_wallis: Tested(KruskalWallis::of(&samples)),
            pairs: pairs(groups),
            warnings,
        }
    }

    /// The pair of two groups, whichever was named first.
    pub fn pair(&self, one: &str, other: &str) -> Option<&Pair> {
        let is = |pair: &Pair, first, second| pair.first == first && pair.second == second;
        self.pairs.iter().find(|pair| is(pair, one, other) || is(pair, other, one))
    }

    /// Whether the tests by means rest on what is not so, and those by ranks are the ones to believe.
    pub fn by_ranks(&self) -> bool {
        self.warnings
            .iter()
            .any(|warning| matches!(warning, Warning::NotNormal { .. } | Warning::Constant { .. }))
    }
}

impl Pair {
    /// Whether the groups differ, by the test to believe; `None` if that has no answer.
    pub fn differs(&self, by_ranks: bool) -> Option<bool> {
        let p = if by_ranks { self.mann_whitney_holm } else { self.welch_holm };
        p.map(|p| p < SIGNIFICANCE)
    }
}

fn pairs(groups: &[(String, Sample)]) -> Vec<Pair> {
    let mut pairs = Vec::new();
    for (at, (first, sample)) in groups.iter().enumerate() {
        for (second, other) in &groups[at + 1..] {
            pairs.push(Pair {
                first: first.clone(),
                second: second.clone(),
                welch: Tested(Welch::of(sample, other)),
                welch_holm: None,
                mann_whitney: Tested(MannWhitney::of(sample, other)),
                mann_whitney_holm: None,
            });
        }
    }
    let corrected = |p: Vec<Option<f64>>| {
        let mut answered = holm(&p.iter().flatten().copied().collect::<Vec<_>>()).into_iter();
        p.into_iter().map(|p| p.and_then(|_| answered.next())).collect::<Vec<Option<f64>>>()
    };
    let welch = corrected(pairs.iter().map(|pair| pair.welch.found().map(|found| found.p)).collect());
    let ranks = corrected(pairs.iter().map(|pair| pair.mann_whitney.found().map(|found| found.p)).collect());
    for (pair, (welch, ranks)) in pairs.iter_mut().zip(welch.into_iter().zip(ranks)) {
        (pair.welch_holm, pair.mann_whitney_holm) = (welch, ranks);
    }
    pairs
}

fn warnings(groups: &[(String, Sample)], described: &[Group], variances: &Tested<Variances>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let few = groups.iter().filter(|(_, sample)| sample.count() < VALUES_FEW).count();
    if few > 0 {
        warnings.push(Warning::FewValues { groups: few });
    }
    let constant: Vec<String> = groups
        .iter()
        .filter(|(_, sample)| sample.count() > 1 && sample.is_constant())
        .map(|(name, _)| name.clone())
        .collect();
    if !constant.is_empty() {
        warnings.push(Warning::Constant { names: constant });
    }
    let odd = |group: &&Group| group.normality.found().is_some_and(|found| found.p < SIGNIFICANCE);
    let names: Vec<String> = described.iter().filter(odd).map(|group| group.name.clone()).collect();
    if !names.is_empty() {
        warnings.push(Warning::NotNormal { names });
    }
    if variances.found().is_some_and(|found| found.p < SIGNIFICANCE) {
        warnings.push(Warning::UnequalVariances);
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(values: &[(&str, &[f64])]) -> Vec<(String, Sample)> {
        values.iter().map(|(name, values)| ((*name).to_owned(), Sample::from(*values))).collect()
    }

    #[test]
    fn every_pair_is_compared_once_and_the_untestable_are_left_out_of_the_correction() {
        let comparison = Comparison::of(&groups(&[
            ("a", &[1.0, 2.0, 3.0, 4.0]),
            ("b", &[11.0, 12.0, 13.5, 14.0]),
            ("one", &[5.0]),
        ]));
        let names: Vec<String> =
            comparison.pairs.iter().map(|pair| format!("{}-{}", pair.first, pair.second)).collect();
        assert_eq!(names, ["a-b", "a-one", "b-one"]);
        let tested = comparison.pair("b", "a").expect("a pair");
        // The only one that Welch could answer, so there is nothing to correct for.
        assert_eq!(tested.welch_holm, tested.welch.found().map(|found| found.p));
        assert_eq!(comparison.pair("a", "one").expect("a pair").welch_holm, None);
        assert!(comparison.warnings.contains(&Warning::FewValues { groups: 3 }));
    }

    #[test]
    fn assumptions_that_do_not_hold_are_named() {
        let mut outlier = vec![1.0, 1.1, 1.2, 1.05, 1.15, 1.12, 1.08, 1.3, 1.22];
        let plain = outlier.clone();
        outlier.push(400.0);
        let comparison =
            Comparison::of(&groups(&[("calm", &plain), ("wild", &outlier), ("flat", &[0.5; 9])]));
        assert!(comparison.warnings.contains(&Warning::NotNormal { names: vec!["wild".to_owned()] }));
        assert!(comparison.warnings.contains(&Warning::Constant { names: vec!["flat".to_owned()] }));
        assert!(comparison.by_ranks());
        let calm = Comparison::of(&groups(&[("calm", &plain), ("same", &plain)]));
        assert_eq!(calm.warnings, []);
        assert_eq!(calm.pairs[0].differs(calm.by_ranks()), Some(false));
    }

    #[test]
    fn nothing_and_one_group_are_no_panic() {
        for groups in [groups(&[]), groups(&[("a", &[1.0])])] {
            let comparison = Comparison::of(&groups);
            assert!(comparison.anova.found().is_none());
            assert!(serde_json::to_string(&comparison).expect("JSON").contains("not_computed"));
        }
    }
}
