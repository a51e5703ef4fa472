//! The tables, as Markdown. It shows what was measured and nothing else: no figure of another run, no word of praise.

use std::fmt::Write as _;

use holdfast_figures::number;

use super::targets;
use crate::contender::{self, BATCH, Contender, DEPTH, KEYS};
use crate::figure::{Direction, Figures, Results, Spread, Way, percentile};
use crate::protocol::{KEY_BYTES, VALUE_BYTES};

/// The whole page. `plots` are the names of those that were drawn.
pub(super) fn of(results: &Results, plots: &[&str]) -> String {
    let mut page = String::from(
        "# Measured\n\n<!-- Written by holdfast-bench. Run it again instead of editing this page. -->\n\n",
    );
    head(results, &mut page);
    targets(results, &mut page);
    for plot in plots {
        let _ = writeln!(page, "![{}]({plot})\n", plot.trim_end_matches(".svg").replace('-', " "));
    }
    loads(results, &mut page);
    outages(results, &mut page);
    memory(results, &mut page);
    starts(results, &mut page);
    checkpoints(results, &mut page);
    files(results, &mut page);
    if !results.missing.is_empty() {
        page += "## Missing\n\n";
        results.missing.iter().for_each(|missing| {
            let _ = writeln!(page, "- {}", missing.replace('\n', " "));
        });
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// `median (min – max)`.
fn spread(spread: Option<Spread>, scale: f64) -> String {
    spread.map_or_else(
        || "–".to_owned(),
        |Spread { median, min, max }| {
            if min == max {
                return number(median * scale);
            }
            format!("{} ({} – {})", number(median * scale), number(min * scale), number(max * scale))
        },
    )
}

fn head(results: &Results, page: &mut String) {
    let machine = &results.machine;
    let repetitions = match results.repetitions {
        1 => "the only one there is".to_owned(),
        repetitions => format!("the median (least – most) of {repetitions} repetitions"),
    };
    let _ = writeln!(
        page,
        "`{}`, {}, {:.0} minutes. Every figure is {repetitions}; contenders take turns. Three members, {VALUE_BYTES}-byte values, {KEY_BYTES}-byte keys out of {}, clients on \
         the same machine, all writes to the leader.\n",
        results.command,
        results.date,
        results.seconds / 60.0,
        number(KEYS as f64)
    );
    let loads = Spread::of(results.loads.iter().map(|cell| cell.load_average));
    let _ = writeln!(
        page,
        "Machine: {} × {}, {:.0} GiB, Linux {}, {}. Load average before the run {:.2}, during the loads {}.\n",
        machine.processors,
        machine.model,
        machine.memory_bytes as f64 / f64::from(1 << 30),
        machine.kernel,
        machine.file_system,
        machine.load_average,
        spread(loads, 1.0)
    );
    page.push_str("| system | version | settings |\n|---|---|---|\n");
    for note in &results.systems {
        let _ = writeln!(page, "| {} | {} | {} |", note.system.title(), note.version, note.settings);
    }
    let of = |figure: fn(&crate::floor::Floor) -> f64| Spread::of(results.floors.iter().map(figure));
    let _ = writeln!(
        page,
        "\n**Floor**: fdatasync of {VALUE_BYTES} bytes appended to a zero-filled file {} µs, loopback round trip {} µs; a \
         durable majority write can take no less than two round trips and one flush: **{} µs**.\n",
        spread(of(|floor| floor.flush_us), 1.0),
        spread(of(|floor| floor.round_trip_us), 1.0),
        spread(results.write_floor(), 1.0)
    );
}

fn targets(results: &Results, page: &mut String) {
    let targets = targets::of(results);
    if targets.is_empty() {
        return;
    }
    page.push_str(
        "## Targets\n\nRatios of medians within this run.\n\n| | goal | measured | |\n|---|---|---|---|\n",
    );
    for target in targets {
        let met = if target.met { "met" } else { "**missed**" };
        let _ = writeln!(page, "| {} | {} | {} | {met} |", target.what, target.goal, target.measured);
    }
    page.push('\n');
}

fn loads(results: &Results, page: &mut String) {
    let sections = [
        ("write", "Durable writes".to_owned(), "writes/s"),
        ("pipelined", format!("Durable writes, {DEPTH} in flight per client"), "writes/s"),
        ("batched", format!("Durable writes, {BATCH} in one request"), "writes/s"),
        ("read", "Linearizable reads".to_owned(), "reads/s"),
        ("append", "Messages to a log".to_owned(), "messages/s"),
    ];
    let mut any = false;
    for (scenario, title, unit) in sections {
        let cells = results.loads.iter().filter(|cell| cell.scenario == scenario);
        let mut clients: Vec<usize> = cells.map(|cell| cell.clients).collect();
        clients.sort_unstable();
        clients.dedup();
        if clients.is_empty() {
            continue;
        }
        any = true;
        let floor = if scenario == "write" { " p50 ÷ floor |" } else { "" };
        let rule = if scenario == "write" { "---|" } else { "" };
        let _ = writeln!(
            page,
            "## {title}\n\n| clients | | {unit} | p50, ms | p99, ms |{floor} ÷ etcd | processors: members + clients | failed |\n\
             |---|---|---|---|---|{rule}---|---|---|"
        );
        for clients in clients {
            for contender in &contender::ALL {
                load_line(results, scenario, clients, contender, page);
            }
        }
        page.push('\n');
    }
    if any {
        page.push_str(
            "¹ Flushes every two minutes: a power cut loses acknowledged writes. ² No consensus: nobody takes the primary's \
             place, and acknowledged writes may be lost with it. ³ One `NativeClient` for all, so one connection.\n\n",
        );
    }
}

fn load_line(results: &Results, scenario: &str, clients: usize, contender: &Contender, page: &mut String) {
    let cells = results.cells(scenario, contender.name, clients);
    if cells.is_empty() {
        return;
    }
    let of = |figure: fn(&Figures) -> f64| results.spread(scenario, contender.name, clients, figure);
    let rate = of(|figures| figures.per_second);
    let p50 = of(|figures| figures.p50_us);
    let etcd = results.spread(scenario, "etcd", clients, |figures| figures.per_second);
    let ratio = |one: Option<Spread>, other: Option<Spread>| match (one, other) {
        (Some(one), Some(other)) => number(one.median / other.median),
        _ => "–".to_owned(),
    };
    let floor =
        if scenario == "write" { format!(" {} |", ratio(p50, results.write_floor())) } else { String::new() };
    let mean = |figure: fn(&crate::figure::Cell) -> f64| {
        Spread::of(cells.iter().map(|cell| figure(cell))).map_or(0.0, |spread| spread.median)
    };
    let failed: u64 = cells.iter().map(|cell| cell.figures.failed).sum();
    let _ = writeln!(
        page,
        "| {clients} | {} | {} | {} | {} |{floor} {} | {:.2} + {:.2} | {failed} |",
        contender.title,
        spread(rate, 1.0),
        spread(p50, 1e-3),
        spread(of(|figures| figures.p99_us), 1e-3),
        ratio(rate, etcd),
        mean(|cell| cell.members_processors),
        mean(|cell| cell.clients_processors)
    );
}

fn outages(results: &Results, page: &mut String) {
    if results.outages.is_empty() {
        return;
    }
    page.push_str(
        "## Faults of the leader\n\nTime without an acknowledged write, in milliseconds.\n\n\
         | fault | | times | p50 | p99 | least – most | requests failed |\n|---|---|---|---|---|---|---|\n",
    );
    let kinds =
        [("kill", "killed (SIGKILL)"), ("term", "asked to end (SIGTERM)"), ("stop", "stopped (SIGSTOP)")];
    for (fault, title) in kinds {
        for outages in results.outages.iter().filter(|outages| outages.fault == fault) {
            let at = |share| percentile(&outages.ms, share).map_or_else(|| "–".to_owned(), number);
            let failed = outages.failed.map_or_else(|| "–".to_owned(), |failed| failed.to_string());
            let _ = writeln!(
                page,
                "| {title} | {} | {} | {} | {} | {} – {} | {failed} |",
                outages.system.title(),
                outages.ms.len(),
                at(0.5),
                at(0.99),
                at(0.0),
                at(1.0)
            );
        }
    }
    page.push('\n');
}

fn memory(results: &Results, page: &mut String) {
    if results.memory.is_empty() {
        return;
    }
    page.push_str("## Memory\n\nResident memory of one member in MiB, the largest of three.\n\n| | empty | after writes | writes |\n|---|---|---|---|\n");
    for memory in &results.memory {
        let most = |bytes: &[u64]| bytes.iter().max().map_or(0.0, |most| *most as f64 / f64::from(1 << 20));
        let (empty, written) = (number(most(&memory.empty)), number(most(&memory.written)));
        let writes = number(memory.writes as f64);
        let _ = writeln!(page, "| {} | {empty} | {written} | {writes} |", memory.system.title());
    }
    page.push('\n');
}

fn starts(results: &Results, page: &mut String) {
    let mut systems: Vec<_> = results.starts.iter().map(|start| start.system).collect();
    systems.dedup();
    if systems.is_empty() {
        return;
    }
    page.push_str("## Start with data\n\nFrom the start of a follower's process until it has everything that it had. Bytes are those of keys and values.\n\n| | keys | seconds | keys/s | GB/s |\n|---|---|---|---|---|\n");
    for system in systems {
        let mine = || results.starts.iter().filter(|start| start.system == system);
        let keys = mine().next().map_or(0, |start| start.keys);
        let _ = writeln!(
            page,
            "| {} | {} | {} | {} | {} |",
            system.title(),
            number(keys as f64),
            spread(Spread::of(mine().map(|start| start.seconds)), 1.0),
            spread(Spread::of(mine().map(|start| start.keys as f64 / start.seconds)), 1.0),
            spread(Spread::of(mine().map(|start| start.bytes as f64 / start.seconds)), 1e-9)
        );
    }
    page.push('\n');
}

fn checkpoints(results: &Results, page: &mut String) {
    let Some(first) = results.checkpoints.first() else { return };
    let _ = writeln!(
        page,
        "## Writes during a checkpoint\n\n{} clients over HTTP while the leader takes a checkpoint of {} GB of keys and \
         values, which takes {} s.\n\n| | writes/s | p99, ms | longest, ms |\n|---|---|---|---|",
        first.clients,
        number(first.bytes as f64 * 1e-9),
        spread(Spread::of(results.checkpoints.iter().map(|checkpoint| checkpoint.seconds)), 1.0)
    );
    for (title, during) in [("without", false), ("during", true)] {
        let of = |figure: fn(&Figures) -> f64| {
            Spread::of(
                results
                    .checkpoints
                    .iter()
                    .map(|checkpoint| figure(if during { &checkpoint.during } else { &checkpoint.without })),
            )
        };
        let _ = writeln!(
            page,
            "| {title} | {} | {} | {} |",
            spread(of(|figures| figures.per_second), 1.0),
            spread(of(|figures| figures.p99_us), 1e-3),
            spread(of(|figures| figures.max_us), 1e-3)
        );
    }
    page.push('\n');
}

fn files(results: &Results, page: &mut String) {
    if results.files.is_empty() {
        return;
    }
    let rsync = results.rsync.as_deref().unwrap_or("rsync, which was not there");
    let _ = writeln!(
        page,
        "## Large files\n\nMB/s of the file, from its first byte until everything is on the disk; all read it from the page \
         cache. An upload ends on three disks: Holdfast's by a PUT to one member with `w=all`, which compares SHA-256 on every \
         member; the floor by three plain copies at once; rsync's ({rsync}, `--whole-file --fsync`) on two, because the third \
         is where the file is. A download ends in one more file, flushed. Memory is the most that any member occupied since its \
         start.\n\n| | MiB | | MB/s | ÷ floor | memory, MiB |\n|---|---|---|---|---|---|"
    );
    for direction in Direction::ALL {
        for bytes in results.file_sizes() {
            let floor = results.file_rate(Way::Copy, direction, bytes);
            for way in Way::ALL {
                let Some(rate) = results.file_rate(way, direction, bytes) else { continue };
                let ratio = floor.map_or_else(|| "–".to_owned(), |floor| number(rate.median / floor.median));
                let memory = results.file_memory(bytes).filter(|_| way == Way::Holdfast);
                let memory =
                    memory.map_or_else(|| "–".to_owned(), |bytes| number(bytes as f64 / f64::from(1 << 20)));
                let _ = writeln!(
                    page,
                    "| {} | {} | {} | {} | {ratio} | {memory} |",
                    direction.title(),
                    bytes >> 20,
                    way.title(),
                    spread(Some(rate), 1e-6)
                );
            }
        }
    }
    page.push('\n');
}
