//! A report's words, tables and plots, in their order.

use holdfast_figures::{BoxPlot, Curve, Curves, Row};

use super::document::{Block, Table};
use super::figure::{bytes, maybe, missing, percent, probability, three_digits, time};
use super::{Measured, Provenance, Report, in_order};
use crate::Run;
use crate::statistics::{Comparison, Group, Pair, SIGNIFICANCE, Tested};

/// The whole report.
pub(super) fn of(report: &Report) -> Vec<Block> {
    let mut blocks = vec![Block::Title("Failure experiments".to_owned()), Block::Text(head(report))];
    if let Some(provenance) = &report.provenance {
        blocks.extend(circumstances(provenance));
    }
    let heading = |words: &str| Block::Heading(words.to_owned());
    blocks.push(heading("What came back, and when"));
    blocks.push(Block::Table(recovery(&report.configurations)));
    blocks.extend(plot(report, "Time until the data was back", |run| run.measurement.recovery_time_seconds));
    blocks.extend(growth(report).map(Block::Plot));
    blocks.push(heading("Recovery times"));
    blocks.push(Block::Table(summaries(&report.recovery.groups)));
    blocks.push(heading("What it costs"));
    blocks.push(Block::Table(costs(&report.configurations)));
    blocks.extend(plot(report, "Time to store all items", |run| run.measurement.store_time_seconds));
    blocks.push(heading("Is the difference real?"));
    blocks.extend(tests(report));
    blocks.push(heading("Every two configurations"));
    blocks.push(Block::Text(
        "Differences of the mean recovery times, the first less the second. Probabilities are corrected by Holm for the number of \
         pairs. g is Hedges' (0.2 is small, 0.8 large); r is the rank-biserial correlation: 1 if every run of the first took longer."
            .to_owned(),
    ));
    blocks.push(Block::Table(pairs(&report.recovery)));
    blocks.push(heading("Recommendation"));
    let points = report.recommendations.iter();
    blocks.push(Block::Points(
        points.map(|one| (one.purpose.words().to_owned(), one.reason.clone())).collect(),
    ));
    blocks
}

fn head(report: &Report) -> String {
    let failures: Vec<&str> = report.failure_types.iter().map(|kind| kind.name()).collect();
    let failures =
        if failures.is_empty() { String::new() } else { format!(" Failure: {}.", failures.join(", ")) };
    format!(
        "{} runs of {} configurations, from {:.0} to {:.0}.{failures} Every failure was injected into running stores; recovery ends with a \
         verified read of the data, or, where nothing is kept, with the first answer of an empty store.",
        report.runs,
        report.configurations.len(),
        report.first,
        report.last
    )
}

fn circumstances(provenance: &Provenance) -> Vec<Block> {
    let Provenance { versions, machines, protocol, missing, failed } = provenance;
    let lines: Vec<String> = machines.iter().map(holdfast_figures::Machine::line).collect();
    let checkpoint = if protocol.trigger_checkpoint { "a checkpoint" } else { "no checkpoint" };
    let load = match protocol.writers {
        0 => "nobody writing meanwhile".to_owned(),
        writers => format!("{writers} clients writing meanwhile"),
    };
    let mut blocks = vec![Block::Text(format!(
        "{} items in every run, {checkpoint} right before the failure, {load}. Holdfast {}. Machine: {}.",
        protocol.items,
        versions.join(", then "),
        lines.join("; then ")
    ))];
    if lines.len() > 1 || versions.len() > 1 {
        let words =
            "these runs are of several machines or versions: their times cannot be compared as if of one";
        blocks.push(Block::Warning(words.to_owned()));
    }
    if *missing > 0 {
        blocks.push(Block::Warning(format!(
            "{missing} runs of the plan are missing ({failed} measured nothing): `holdfast experiment run` completes the file"
        )));
    }
    blocks
}

fn recovery(all: &[Measured]) -> Table {
    let mut table = Table::new(
        2,
        &[
            "configuration",
            "strategy",
            "runs",
            "recovery p50",
            "p95",
            "data back",
            "worst run",
            "runs with loss",
            "items at risk",
            "checkpoint age",
            "gap in writes",
            "acknowledged",
            "of these lost",
        ],
    );
    let count = |figure: Option<u64>| figure.map_or_else(missing, |figure| figure.to_string());
    table.rows = all
        .iter()
        .map(|one| {
            vec![
                one.name.clone(),
                one.full_name.clone().unwrap_or_else(|| one.strategy.clone()),
                one.recovery_seconds.count.to_string(),
                time(one.recovery_seconds.median),
                time(one.recovery_seconds.p95),
                percent(one.recovery_rate_mean),
                percent(one.recovery_rate_worst),
                one.runs_with_loss.to_string(),
                count(one.items_at_risk),
                maybe(one.checkpoint_age_seconds),
                maybe(one.gap_seconds),
                count(one.acknowledged_writes),
                count(one.lost_acknowledged_writes),
            ]
        })
        .collect();
    table.without_empty_columns(&missing())
}

fn summaries(groups: &[Group]) -> Table {
    let heading = [
        "configuration",
        "count",
        "mean",
        "std",
        "min",
        "median",
        "p95",
        "max",
        "95 % interval of the mean",
        "normal?",
    ];
    let mut table = Table::new(1, &heading);
    table.rows = groups
        .iter()
        .map(|group| {
            let summary = &group.summary;
            let interval = summary.interval;
            vec![
                group.name.clone(),
                summary.count.to_string(),
                time(summary.mean),
                maybe(summary.std),
                time(summary.min),
                time(summary.median),
                time(summary.p95),
                time(summary.max),
                interval.map_or_else(missing, |interval| {
                    format!("{} – {}", time(interval.low), time(interval.high))
                }),
                group.normality.found().map_or_else(missing, |found| format!("p = {}", probability(found.p))),
            ]
        })
        .collect();
    table
}

fn costs(all: &[Measured]) -> Table {
    let mut table = Table::new(
        1,
        &["configuration", "storing all items", "write p50", "write p99", "bytes on disks per write"],
    );
    table.rows = all
        .iter()
        .map(|one| {
            vec![
                one.name.clone(),
                time(one.store_seconds),
                maybe(one.write_latency_p50_seconds),
                maybe(one.write_latency_p99_seconds),
                one.bytes_per_write.map_or_else(missing, bytes),
            ]
        })
        .collect();
    table.without_empty_columns(&missing())
}

/// Boxes of a figure by configuration, if there is anything to draw.
fn plot(report: &Report, title: &str, figure: fn(&Run) -> f64) -> Option<Block> {
    let rows = report.configurations.iter().map(|one| {
        let runs = report.rows.iter().filter(|run| run.config_name == one.name);
        let mut sorted: Vec<f64> = runs.map(|run| figure(run) * 1e3).collect();
        sorted.sort_by(f64::total_cmp);
        Row { title: one.name.clone(), colour: colour(one), sorted }
    });
    let plot = BoxPlot { title: title.to_owned(), unit: "milliseconds".to_owned(), rows: rows.collect() };
    plot.draw().map(Block::Plot)
}

/// Lines of the median recovery time over the number of items, if there are several numbers of items.
fn growth(report: &Report) -> Option<String> {
    let all = &report.configurations;
    let sizes = in_order(all.iter().filter_map(|one| one.data_items));
    if sizes.len() < 2 {
        return None;
    }
    let names = in_order(all.iter().map(|one| (&one.configuration, one.failure_type)));
    let several = in_order(names.iter().map(|(_, failure)| failure)).len() > 1;
    let curves = names.into_iter().map(|(name, failure)| {
        let those = all.iter().filter(|one| (&one.configuration, one.failure_type) == (name, failure));
        let point = |one: &Measured| Some((one.data_items? as f64, one.recovery_seconds.median * 1e3));
        let mut points: Vec<(f64, f64)> = those.clone().filter_map(point).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let title = match failure {
            Some(failure) if several => format!("{name}, {failure}"),
            _ => name.clone(),
        };
        Curve { title, colour: those.map(colour).next().unwrap_or(0), points }
    });
    let curves = Curves {
        title: "Median time until the data was back".to_owned(),
        across: "items".to_owned(),
        unit: "milliseconds".to_owned(),
        curves: curves.collect(),
    };
    curves.draw()
}

fn colour(one: &Measured) -> usize {
    match &*one.strategy {
        "baseline" => 0,
        "checkpointing" => 1,
        "replication" => 2,
        _ => 3,
    }
}

fn tests(report: &Report) -> Vec<Block> {
    let mut table = Table::new(2, &["test", "between", "statistic", "p", "effect", "significant?"]);
    let sets = [("configurations", &report.recovery), ("strategies", &report.recovery_by_strategy)];
    for (between, comparison) in sets {
        table.rows.push(test("ANOVA of the means", between, &comparison.anova, |found| {
            let statistic = format!("F({}, {}) = {}", found.between, found.within, three_digits(found.f));
            (statistic, found.p, format!("η² = {:.3}, ω² = {:.3}", found.eta_squared, found.omega_squared))
        }));
        table.rows.push(test("Kruskal-Wallis, by ranks", between, &comparison.kruskal_wallis, |found| {
            (format!("H({}) = {}", found.freedom, three_digits(found.h)), found.p, missing())
        }));
        table.rows.push(test("Brown-Forsythe, of the spreads", between, &comparison.variances, |found| {
            (format!("F = {}", three_digits(found.f)), found.p, missing())
        }));
    }
    let mut blocks = vec![Block::Table(table)];
    blocks.extend(report.recovery.warnings.iter().map(|warning| Block::Warning(warning.to_string())));
    blocks
}

fn test<T>(
    name: &str,
    between: &str,
    tested: &Tested<T>,
    words: fn(&T) -> (String, f64, String),
) -> Vec<String> {
    let cells = match &tested.0 {
        Ok(found) => {
            let (statistic, p, effect) = words(found);
            let significant = if p < SIGNIFICANCE { "yes" } else { "no" };
            [statistic, probability(p), effect, significant.to_owned()]
        }
        Err(error) => [missing(), missing(), missing(), error.to_string()],
    };
    [name.to_owned(), between.to_owned()].into_iter().chain(cells).collect()
}

fn pairs(comparison: &Comparison) -> Table {
    let heading = ["first", "second", "difference", "Welch p", "g", "Mann-Whitney p", "r", "differ?"];
    let mut table = Table::new(2, &heading);
    let by_ranks = comparison.by_ranks();
    let holm = |p: Option<f64>| p.map_or_else(missing, probability);
    let row = |pair: &Pair| {
        let (welch, ranks) = (pair.welch.found(), pair.mann_whitney.found());
        vec![
            pair.first.clone(),
            pair.second.clone(),
            maybe(welch.map(|welch| welch.difference)),
            holm(pair.welch_holm),
            welch.map_or_else(missing, |welch| three_digits(welch.hedges_g)),
            holm(pair.mann_whitney_holm),
            ranks.map_or_else(missing, |ranks| format!("{:.2}", ranks.rank_biserial)),
            match pair.differs(by_ranks) {
                Some(true) => "yes".to_owned(),
                Some(false) => "no".to_owned(),
                None => missing(),
            },
        ]
    };
    table.rows = comparison.pairs.iter().map(row).collect();
    table
}
