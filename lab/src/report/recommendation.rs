//! Which strategy is for what, from what was measured and nothing else.

use serde::Serialize;

use super::figure::{bytes, percent, time};
use super::{Measured, in_order};
use crate::statistics::Comparison;

/// With fewer runs of a configuration, "nothing was lost" says little: what happens once in ten times is missed by five runs more
/// often than not.
const RUNS_FEW: usize = 10;

/// A choice and why.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Recommendation {
    /// What it is for.
    pub purpose: Purpose,
    /// The configuration; `None` if no one that was measured is fit for it.
    pub choice: Option<String>,
    /// Why, in words.
    pub reason: String,
}

/// What somebody may want.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Whatever was acknowledged is there after the failure.
    LoseNothing,
    /// What the last checkpoint had is enough.
    LoseSinceCheckpoint,
    /// Everything can be computed again.
    LoseEverything,
    /// What to mind about the choices.
    Caution,
}

impl Purpose {
    /// In words.
    pub(super) fn words(self) -> &'static str {
        match self {
            Purpose::LoseNothing => "If nothing acknowledged may be lost",
            Purpose::LoseSinceCheckpoint => "If the last checkpoint is enough",
            Purpose::LoseEverything => "If everything can be computed again",
            Purpose::Caution => "Mind",
        }
    }
}

/// What these configurations recommend: after each failure by itself, and where sizes differ, by the largest.
pub(super) fn of(all: &[Measured], recovery: &Comparison) -> Vec<Recommendation> {
    let largest = all.iter().map(|one| one.data_items).max().flatten();
    let failures = in_order(all.iter().map(|one| one.failure_type));
    let mut list = Vec::new();
    for failure in &failures {
        let those: Vec<Measured> = all
            .iter()
            .filter(|one| one.failure_type == *failure && one.data_items == largest)
            .cloned()
            .collect();
        list.extend(of_one_failure(&those, recovery));
    }
    list.extend(cautions(all).into_iter().map(|reason| Recommendation {
        purpose: Purpose::Caution,
        choice: None,
        reason,
    }));
    list
}

fn of_one_failure(all: &[Measured], recovery: &Comparison) -> Vec<Recommendation> {
    if all.is_empty() {
        return Vec::new();
    }
    let mut list = vec![lose_nothing(all, recovery)];
    list.extend(since_checkpoint(all));
    list.extend(everything(all));
    list
}

/// Whether no run lost anything that was acknowledged.
fn lost_nothing(one: &Measured) -> bool {
    one.runs_with_loss == 0 && one.lost_acknowledged_writes.unwrap_or(0) == 0
}

/// Whether it keeps what is acknowledged by itself, not because a checkpoint was taken right before the failure.
fn keeps(one: &Measured) -> bool {
    lost_nothing(one) && !(one.strategy == "checkpointing" && one.checkpoint_triggered)
}

fn by_median(a: &&Measured, b: &&Measured) -> std::cmp::Ordering {
    a.recovery_seconds.median.total_cmp(&b.recovery_seconds.median)
}

fn lose_nothing(all: &[Measured], recovery: &Comparison) -> Recommendation {
    let purpose = Purpose::LoseNothing;
    let keepers: Vec<&Measured> = all.iter().filter(|one| keeps(one)).collect();
    let Some(fastest) = keepers.iter().copied().min_by(by_median) else {
        let reason = "every configuration that was measured loses something in such a failure".to_owned();
        return Recommendation { purpose, choice: None, reason };
    };
    // Who cannot be told from the fastest may be chosen for what it costs, if there are enough runs to tell anything.
    let told = |one: &Measured| one.recovery_seconds.count >= RUNS_FEW;
    let by_ranks = recovery.by_ranks();
    let alike: Vec<&Measured> = keepers
        .iter()
        .copied()
        .filter(|one| {
            let pair = recovery.pair(&one.name, &fastest.name);
            let alike = pair.and_then(|pair| pair.differs(by_ranks)) == Some(false);
            one.name == fastest.name || (alike && told(one) && told(fastest))
        })
        .collect();
    let cheapest = cheapest(&alike).unwrap_or(fastest);
    let mut reason = format!("{} lost nothing in {}", cheapest.name, back(cheapest));
    reason += &format!("; {}", cost(cheapest, all));
    let others: Vec<&str> =
        alike.iter().filter(|one| one.name != cheapest.name).map(|one| one.name.as_str()).collect();
    if !others.is_empty() {
        reason += &format!(
            "; as far as these runs can tell, {} came back as fast{}",
            others.join(", "),
            if has_costs(&alike) { ", but a write takes longer there" } else { "" }
        );
    }
    Recommendation { purpose, choice: Some(cheapest.name.clone()), reason: reason + "." }
}

fn since_checkpoint(all: &[Measured]) -> Option<Recommendation> {
    let those: Vec<&Measured> = all.iter().filter(|one| one.strategy == "checkpointing").collect();
    let fastest = those.iter().copied().min_by(by_median)?;
    let choice = cheapest(&those).unwrap_or(fastest);
    let mut reason = format!(
        "{} had {} of the items back in {}",
        choice.name,
        percent(choice.recovery_rate_mean),
        back(choice)
    );
    if choice.checkpoint_triggered {
        reason += "; a checkpoint was taken right before the failure, and without that everything since the last one is lost";
    } else if let Some(age) = choice.checkpoint_age_seconds {
        reason += &format!("; the last checkpoint was {} old and what came later is lost", time(age));
    }
    reason += &format!("; {}", cost(choice, all));
    if those.len() > 1 {
        reason += ". The interval decides how much is lost: take the shortest that the disk bears";
    }
    let choice = Some(choice.name.clone());
    Some(Recommendation { purpose: Purpose::LoseSinceCheckpoint, choice, reason: reason + "." })
}

fn everything(all: &[Measured]) -> Option<Recommendation> {
    let one = all.iter().find(|one| one.strategy == "baseline")?;
    let lost = if one.recovery_rate_mean == 0.0 { "lost everything" } else { "kept nothing on purpose" };
    let reason = format!("{} {lost} in {}, empty; {}.", one.name, back(one), cost(one, all));
    Some(Recommendation { purpose: Purpose::LoseEverything, choice: Some(one.name.clone()), reason })
}

/// `20 runs and was back after 3.40 ms (95 of 100 within 5.10 ms)`.
fn back(one: &Measured) -> String {
    let runs = one.recovery_seconds.count;
    format!(
        "{runs} run{} and was back after {} (95 of 100 within {})",
        if runs == 1 { "" } else { "s" },
        time(one.recovery_seconds.median),
        time(one.recovery_seconds.p95)
    )
}

/// What a write costs there, against the cheapest of all.
fn cost(one: &Measured, all: &[Measured]) -> String {
    let Some(latency) = one.write_latency_p50_seconds else {
        return format!("storing the items took {}", time(one.store_seconds));
    };
    let mut words = format!("a write takes {}", time(latency));
    let least = all.iter().filter_map(|other| other.write_latency_p50_seconds).fold(latency, f64::min);
    if least > 0.0 && latency > least * 1.05 {
        words += &format!(", {:.1} times the cheapest,", latency / least);
    }
    if let Some(written) = one.bytes_per_write {
        words += &format!(" and {} on disks", bytes(written));
    }
    words.trim_end_matches(',').to_owned()
}

/// The one whose writes take the least time, if that was measured of all.
fn cheapest<'a>(those: &[&'a Measured]) -> Option<&'a Measured> {
    if !has_costs(those) {
        return None;
    }
    those.iter().copied().min_by(|a, b| {
        let latency = |one: &Measured| one.write_latency_p50_seconds.unwrap_or(f64::INFINITY);
        latency(a).total_cmp(&latency(b))
    })
}

/// Whether the time of a write was measured of all.
fn has_costs(those: &[&Measured]) -> bool {
    those.iter().all(|one| one.write_latency_p50_seconds.is_some())
}

fn cautions(all: &[Measured]) -> Vec<String> {
    let mut cautions = Vec::new();
    let few: Vec<&str> =
        all.iter().filter(|one| one.recovery_seconds.count < RUNS_FEW).map(|one| one.name.as_str()).collect();
    if !few.is_empty() {
        cautions.push(format!(
            "these have fewer than {RUNS_FEW} runs, too few to say that they never lose anything: {}.",
            few.join(", ")
        ));
    }
    let surprising =
        all.iter().filter(|one| one.runs_with_loss > 0 && matches!(&*one.strategy, "replication" | "hybrid"));
    cautions.extend(surprising.map(|one| {
        format!(
            "{} lost items in {} of {} runs: this failure is more than it survives.",
            one.name, one.runs_with_loss, one.recovery_seconds.count
        )
    }));
    cautions.extend(all.iter().filter(|one| one.lost_acknowledged_writes.unwrap_or(0) > 0).map(|one| {
        format!(
            "{} lost {} of {} writes that it had acknowledged under load.",
            one.name,
            one.lost_acknowledged_writes.unwrap_or(0),
            one.acknowledged_writes.unwrap_or(0)
        )
    }));
    cautions
}
