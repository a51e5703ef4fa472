//! The panels of failure experiments. How they are drawn is decided elsewhere.

use super::{Kind, Panel, Row};

pub(super) const ROWS: &[Row] = &[
    Row {
        title: "At a glance",
        panels: &[
            Panel {
                title: "A run is under way",
                description: "1 while a store is measured. Whatever else the cluster does then is measured with it.",
                kind: Kind::Stat,
                unit: "none",
                width: 4,
                queries: &[("max(holdfast_lab_run_under_way{})", "under way")],
            },
            Panel {
                title: "Runs missing",
                description: "Runs of the experiment under way that are not measured yet.",
                kind: Kind::Stat,
                unit: "none",
                width: 4,
                queries: &[("max(holdfast_lab_missing_runs{})", "runs")],
            },
            Panel {
                title: "Experiments",
                description: "FaultExperiments by phase. They are measured one after the other.",
                kind: Kind::Stat,
                unit: "none",
                width: 8,
                queries: &[("sum by (phase) (holdfast_lab_experiments{})", "{{phase}}")],
            },
            Panel {
                title: "Runs measured",
                description: "Runs that ended with a measurement since the lab started.",
                kind: Kind::Stat,
                unit: "none",
                width: 4,
                queries: &[(r#"sum(holdfast_lab_runs_total{result="ok",})"#, "runs")],
            },
            Panel {
                title: "Runs that measured nothing",
                description: "More than none: look at the experiment's message and the lab's log.",
                kind: Kind::Stat,
                unit: "none",
                width: 4,
                queries: &[(r#"sum(holdfast_lab_runs_total{result="error",})"#, "runs")],
            },
        ],
    },
    Row {
        title: "What came back, and when",
        panels: &[
            Panel {
                title: "Recovery time, median",
                description: "From the failure to the first verified read, by strategy and members; half of all runs so far took no longer. The \
                              results have each run; this is their buckets.",
                kind: Kind::Lines,
                unit: "s",
                width: 12,
                queries: &[(
                    "histogram_quantile(0.5, sum by (strategy, replicas, le) (holdfast_lab_recovery_seconds_bucket{}))",
                    "{{strategy}} {{replicas}}",
                )],
            },
            Panel {
                title: "Recovery time, 95 of 100",
                description: "95 of 100 runs so far took no longer.",
                kind: Kind::Lines,
                unit: "s",
                width: 12,
                queries: &[(
                    "histogram_quantile(0.95, sum by (strategy, replicas, le) (holdfast_lab_recovery_seconds_bucket{}))",
                    "{{strategy}} {{replicas}}",
                )],
            },
            Panel {
                title: "Share of items that came back",
                description: "Of all items that were stored before a failure. Baseline keeps none; Checkpointing what its last checkpoint held.",
                kind: Kind::Lines,
                unit: "percentunit",
                width: 12,
                queries: &[(
                    r#"sum by (strategy, replicas) (holdfast_lab_items_total{fate="recovered",}) / sum by (strategy, replicas) (holdfast_lab_items_total{})"#,
                    "{{strategy}} {{replicas}}",
                )],
            },
            Panel {
                title: "Time to store all items, mean",
                description: "What the strategy costs before anything fails.",
                kind: Kind::Lines,
                unit: "s",
                width: 12,
                queries: &[(
                    "sum by (strategy, replicas) (holdfast_lab_store_seconds_sum{}) / sum by (strategy, replicas) (holdfast_lab_store_seconds_count{})",
                    "{{strategy}} {{replicas}}",
                )],
            },
        ],
    },
    Row {
        title: "The lab",
        panels: &[
            Panel {
                title: "Runs, by strategy",
                description: "How many are measured in a minute.",
                kind: Kind::Lines,
                unit: "none",
                width: 12,
                queries: &[(
                    r#"60 * sum by (strategy, replicas) (rate(holdfast_lab_runs_total{result="ok",}[$__rate_interval]))"#,
                    "{{strategy}} {{replicas}}",
                )],
            },
            Panel {
                title: "Processor of the lab",
                description: "Cores that the lab itself uses. Near one, it measures itself: write fewer writers or items.",
                kind: Kind::Lines,
                unit: "none",
                width: 12,
                queries: &[(
                    "rate(process_cpu_seconds_total{}[$__rate_interval]) and on (namespace, pod) holdfast_lab_run_under_way{}",
                    "{{pod}}",
                )],
            },
        ],
    },
];
