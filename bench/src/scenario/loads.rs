//! Writes and reads by many clients. In every repetition each contender's system is started on empty disks, goes through all loads,
//! and is taken away before the next one starts: nobody's idle members take another's time, and nobody is measured with
//! more data than another.

use std::time::{Duration, Instant};

use super::Bench;
use crate::contender::{self, Contender, Scenario};
use crate::figure::Cell;
use crate::floor::Floor;
use crate::load::Until;
use crate::process::{self, Process};
use crate::say;
use crate::system::{Cluster, System};

/// Measure all loads.
pub(super) fn run(bench: &mut Bench) {
    let systems = bench.systems(&System::ALL);
    for repetition in 0..bench.plan.repetitions {
        for contender in order(repetition).filter(|contender| systems.contains(&contender.system)) {
            measure_floor(bench, repetition);
            let what = format!("{}, loads, repetition {repetition}", contender.title);
            bench.with(contender.system, &what, |bench, cluster| {
                all_loads(bench, cluster, contender, repetition);
                Ok(())
            });
        }
    }
}

/// The floor moves as the machine does, so that it is measured beside everybody.
fn measure_floor(bench: &mut Bench, repetition: usize) {
    match Floor::measure(&bench.data) {
        Ok(floor) => {
            let (flush, round_trip) = (floor.flush_us, floor.round_trip_us);
            say(format_args!("[{repetition}] floor: flush {flush:.1} us, round trip {round_trip:.1} us"));
            bench.results.floors.push(floor);
        }
        Err(error) => bench.results.missing.push(format!("a floor: {error:#}")),
    }
}

/// Every other repetition runs backwards, so that whatever changes slowly on the machine hits nobody always first.
fn order(repetition: usize) -> Box<dyn Iterator<Item = &'static Contender>> {
    let forwards = contender::ALL.iter();
    if repetition.is_multiple_of(2) { Box::new(forwards) } else { Box::new(forwards.rev()) }
}

fn all_loads(bench: &mut Bench, cluster: &mut dyn Cluster, contender: &Contender, repetition: usize) {
    for (scenario, clients) in bench.plan.loads.clone() {
        if !contender.can(scenario) {
            continue;
        }
        for clients in clients {
            match one(bench, cluster, contender, (scenario, clients, repetition)) {
                Ok(cell) => {
                    say(format_args!(
                        "[{repetition}] {:>9} {:>4} clients  {:<32} {:>9.0}/s  p50 {:>8.3} ms  p99 {:>8.3} ms",
                        scenario.name(),
                        clients,
                        contender.title,
                        cell.figures.per_second,
                        cell.figures.p50_us / 1e3,
                        cell.figures.p99_us / 1e3
                    ));
                    bench.results.loads.push(cell);
                }
                Err(error) => {
                    let what = format!("{} by {clients} clients ({})", scenario.name(), contender.title);
                    bench.note_missing(contender.system, &what, &error);
                }
            }
        }
    }
}

fn one(
    bench: &Bench,
    cluster: &mut dyn Cluster,
    contender: &Contender,
    (scenario, clients, repetition): (Scenario, usize, usize),
) -> anyhow::Result<Cell> {
    let until = Until::Time { warm_up: bench.plan.warm_up, length: bench.plan.length };
    let (begin, busy) = (Instant::now(), Busy::now(cluster));
    let figures = contender.run(scenario, clients, until, cluster, &bench.programs)?;
    let (members, own) = Busy::now(cluster).since(&busy, begin.elapsed());
    Ok(Cell {
        scenario: scenario.name().to_owned(),
        contender: contender.name.to_owned(),
        clients,
        repetition,
        figures,
        members_processors: members,
        clients_processors: own,
        load_average: holdfast_figures::load_average(),
    })
}

/// Processor time of the members, and of the load tool with what it ran.
struct Busy {
    members: Duration,
    own: Duration,
}

impl Busy {
    fn now(cluster: &mut dyn Cluster) -> Busy {
        let (own, children) = process::own_processor_times();
        let members = cluster.processes().iter().map(Process::processor_time).sum();
        Busy { members, own: own + children }
    }

    /// Processors kept busy since `before`, over `time`.
    fn since(&self, before: &Busy, time: Duration) -> (f64, f64) {
        let share =
            |now: Duration, then: Duration| now.saturating_sub(then).as_secs_f64() / time.as_secs_f64();
        (share(self.members, before.members), share(self.own, before.own))
    }
}
