//! Which plots there are, and what is on them.

use holdfast_figures::{Bar, Bars, Group};

use crate::contender;
use crate::figure::{Direction, Figures, Results, Spread, Way, percentile};
use crate::system::System;

/// Every plot's file, and its drawing if there are figures for it.
pub(super) fn of(results: &Results) -> Vec<(&'static str, Option<String>)> {
    vec![
        ("writes.svg", rates(results, "write", "Durable writes per second, by number of clients").draw()),
        ("reads.svg", rates(results, "read", "Linearizable reads per second, by number of clients").draw()),
        ("latency.svg", latency(results).draw()),
        ("faults.svg", faults(results).draw()),
        ("memory.svg", memory(results).draw()),
        ("files.svg", files(results).draw()),
    ]
}

/// A colour for every system; Holdfast's two protocols have two shades of one.
fn colour(name: &str) -> &'static str {
    match name {
        "holdfast-native" | "holdfast" => "#0b6e4f",
        "holdfast-unix" => "#2f9e74",
        "holdfast-client" => "#8fb339",
        "holdfast-http" => "#5fb49c",
        "etcd" => "#3b6fb6",
        "nats-always" => "#7a3e9d",
        "nats-default" => "#c7a3d8",
        _ => "#c0392b",
    }
}

fn system_colour(system: System) -> &'static str {
    colour(match system {
        System::Holdfast => "holdfast",
        System::HoldfastInSync => "holdfast-http",
        System::Etcd => "etcd",
        System::NatsOne | System::NatsAlways => "nats-always",
        System::NatsDefault => "nats-default",
        System::Redis => "redis",
    })
}

fn bar(title: &str, colour: &'static str, spread: Spread) -> Bar {
    Bar { title: title.trim_end_matches(['¹', '²', '³']).to_owned(), colour, spread }
}

fn load_group(results: &Results, scenario: &str, clients: usize, figure: fn(&Figures) -> f64) -> Vec<Bar> {
    let bars = contender::ALL.iter().filter_map(|contender| {
        let spread = results.spread(scenario, contender.name, clients, figure)?;
        Some(bar(contender.title, colour(contender.name), spread))
    });
    bars.collect()
}

fn rates(results: &Results, scenario: &str, title: &'static str) -> Bars {
    let mut clients: Vec<usize> =
        results.loads.iter().filter(|cell| cell.scenario == scenario).map(|cell| cell.clients).collect();
    clients.sort_unstable();
    clients.dedup();
    let groups = clients.into_iter().map(|clients| Group {
        title: format!("{clients} client{}", if clients == 1 { "" } else { "s" }),
        bars: load_group(results, scenario, clients, |figures| figures.per_second),
    });
    Bars { title, unit: "per second", groups: groups.collect(), floor: None }
}

fn latency(results: &Results) -> Bars {
    let groups = [
        ("p50", (|figures: &Figures| figures.p50_us / 1e3) as fn(&Figures) -> f64),
        ("p99", |figures| figures.p99_us / 1e3),
    ];
    let groups = groups.map(|(title, figure)| Group {
        title: title.to_owned(),
        bars: load_group(results, "write", 1, figure),
    });
    let floor = results.write_floor().map(|floor| floor.median / 1e3);
    Bars { title: "Latency of a durable write by one client", unit: "ms", groups: groups.into(), floor }
}

fn faults(results: &Results) -> Bars {
    let kinds = [("kill", "killed"), ("stop", "stopped"), ("term", "asked to end")];
    let groups = kinds.map(|(fault, title)| Group {
        title: format!("leader {title}"),
        bars: results
            .outages
            .iter()
            .filter(|outages| outages.fault == fault)
            .filter_map(|outages| {
                let at = |share| percentile(&outages.ms, share);
                let spread = Spread { median: at(0.5)?, min: at(0.0)?, max: at(0.99)? };
                Some(bar(outages.system.title(), system_colour(outages.system), spread))
            })
            .collect(),
    });
    let title = "Time without an acknowledged write: median, from the least to p99";
    Bars { title, unit: "ms", groups: groups.into(), floor: None }
}

fn memory(results: &Results) -> Bars {
    let group = |title: &str, figure: fn(&crate::figure::Memory) -> &Vec<u64>| Group {
        title: title.to_owned(),
        bars: results
            .memory
            .iter()
            .filter_map(|memory| {
                let mebibytes = figure(memory).iter().map(|bytes| *bytes as f64 / f64::from(1 << 20));
                let spread = Spread::of(mebibytes)?;
                Some(bar(memory.system.title(), system_colour(memory.system), spread))
            })
            .collect(),
    };
    let groups =
        vec![group("empty", |memory| &memory.empty), group("after writes", |memory| &memory.written)];
    Bars { title: "Resident memory of one member: median of three", unit: "MiB", groups, floor: None }
}

fn files(results: &Results) -> Bars {
    let colour = |way| match way {
        Way::Copy => "#8a8f98",
        Way::Rsync => "#c77d0a",
        Way::Holdfast => colour("holdfast"),
    };
    let mut groups = Vec::new();
    for direction in Direction::ALL {
        for bytes in results.file_sizes() {
            let bars = Way::ALL.into_iter().filter_map(|way| {
                let Spread { median, min, max } = results.file_rate(way, direction, bytes)?;
                let spread = Spread { median: median * 1e-6, min: min * 1e-6, max: max * 1e-6 };
                Some(bar(way.title(), colour(way), spread))
            });
            let title = format!("{}, {} MiB", direction.title(), bytes >> 20);
            groups.push(Group { title, bars: bars.collect() });
        }
    }
    Bars { title: "Large files, onto three disks and back", unit: "MB/s", groups, floor: None }
}
