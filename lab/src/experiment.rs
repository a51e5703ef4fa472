//! One experiment on one store: items are stored, the store fails, somebody reads until the data is there, every item is read.
//!
//! | part | does |
//! |---|---|
//! | [`items`] | what is stored, and whether it came back |
//! | [`fault`] | what fails, and how it is mended |
//! | [`recovery`] | reads until somebody answers, and says when that was |
//! | [`health`] | how a store is |
//! | [`load`] | clients that go on writing |
//! | [`cost`] | what members wrote to their disks |
//!
//! Refuses to wait for anything but the store: nothing between the failure and the end of the recovery sleeps.

pub(crate) mod cost;
pub(crate) mod fault;
pub(crate) mod health;
pub(crate) mod items;
pub(crate) mod load;
pub(crate) mod recovery;

use std::time::Duration;

use holdfast_api::http::Status;
use jiff::Timestamp;

use self::cost::Cost;
use self::fault::Fault;
use self::items::Stored;
use self::load::Load;
use self::recovery::{Recovered, Recovery};
use crate::testbed::Bed;
use crate::{Configuration, FailureKind, Measurement, Protocol, TestbedError};

/// A store that does not answer for so long after a failure is given up: members that are started again are there within a second, those that
/// wait for their next restart within ten.
pub(crate) const RECOVERY_MAX: Duration = Duration::from_secs(30);

/// A store that is not whole has so long for each page of items.
const READ_MAX: Duration = Duration::from_secs(3);

/// Whether connections have to go over lines that can be cut.
pub(crate) fn needs_links(kind: FailureKind) -> bool {
    matches!(kind, FailureKind::Partition | FailureKind::Latency)
}

/// Runs one experiment on a store that is ready and empty. The store is whole again afterwards, as far as it can be.
pub(crate) async fn run(
    bed: &Bed,
    configuration: &Configuration,
    protocol: &Protocol,
    run_id: u32,
) -> Result<Measurement, TestbedError> {
    let before = Cost::read(bed).await;
    let mut stored =
        items::store(&bed.all, protocol.items, protocol.seed.wrapping_add(run_id.into())).await?;
    let mut after = Cost::read(bed).await;
    let load = Load::begin(&bed.store.clients(), protocol.writers).await?;
    let chance = protocol.seed.wrapping_add(run_id.into());
    let fault = Fault::choose(bed, protocol.failure_type, protocol.node_count, chance).await?;
    let triggered = protocol.trigger_checkpoint && configuration.strategy.takes_checkpoints();
    if triggered {
        bed.take_checkpoint(fault.serving()).await?;
        if protocol.writers == 0 {
            // What makes the items safe is a part of their cost; with a load, others write too.
            after = Cost::read(bed).await;
        }
    }
    stored.cost = before.zip(after).map(|(before, after)| after.since(before, protocol.items.into()));
    let outlives = bed.strategy().replicates() && fault.kind() != FailureKind::Disks;
    let at_risk = AtRisk::find(bed.leader().await.as_ref(), outlives, &stored, protocol.items);
    let recovery = Recovery::prepare(bed, &stored, &fault);

    let injected = fault.inject(bed).await?;
    let recovered = recovery.run(bed, &injected).await;

    fault.mend(bed).await?;
    // A store that cannot be whole again, such as one that lost a majority of its memories, is what is being measured.
    let whole = bed.wait_until_well(RECOVERY_MAX).await.is_ok();
    let load = load.end(&bed.all, injected.began, whole).await;
    let items_recovered = items::count(&bed.all, &stored, if whole { RECOVERY_MAX } else { READ_MAX }).await;
    let note = recovered.note(configuration, &fault, whole);
    Ok(Found { stored, triggered, at_risk, recovered, load, items_recovered, note }.measurement(protocol))
}

/// Everything that was found out about a store.
pub(crate) struct Found {
    pub(crate) stored: Stored,
    /// Whether a checkpoint was taken because the protocol asked for it.
    pub(crate) triggered: bool,
    pub(crate) at_risk: AtRisk,
    pub(crate) recovered: Recovered,
    pub(crate) load: Option<load::Outcome>,
    pub(crate) items_recovered: u64,
    pub(crate) note: Option<String>,
}

impl Found {
    /// As a row of the results has it.
    pub(crate) fn measurement(self, protocol: &Protocol) -> Measurement {
        let Found { stored, triggered, at_risk, recovered, load, items_recovered, note } = self;
        Measurement {
            recovery_time_seconds: recovered.took.as_secs_f64(),
            data_recovery_rate: Measurement::rate(protocol.items.into(), items_recovered),
            items_recovered,
            store_time_seconds: stored.took.as_secs_f64(),
            failure_type: Some(protocol.failure_type),
            data_items: Some(protocol.items.into()),
            checkpoint_triggered: Some(triggered),
            checkpoint_age_seconds: at_risk.checkpoint_age,
            items_at_risk: Some(at_risk.items),
            gap_seconds: load.as_ref().and_then(|load| load.gap).map(|gap| gap.as_secs_f64()),
            acknowledged_writes: load.as_ref().map(|load| load.acknowledged),
            lost_acknowledged_writes: load.as_ref().and_then(|load| load.lost),
            write_latency_p50_seconds: stored.latency(0.5).map(|latency| latency.as_secs_f64()),
            write_latency_p99_seconds: stored.latency(0.99).map(|latency| latency.as_secs_f64()),
            bytes_per_write: stored.cost.as_ref().and_then(Cost::bytes_per_write),
            note,
        }
    }
}

/// What a failure could take.
pub(crate) struct AtRisk {
    items: u64,
    checkpoint_age: Option<f64>,
}

impl AtRisk {
    /// By what the leader says of itself. Where a store `outlives` its failure, every acknowledged item is on another member
    /// or in a log on a disk.
    pub(crate) fn find(leader: Option<&Status>, outlives: bool, stored: &Stored, items: u32) -> AtRisk {
        let checkpoint = leader.and_then(|leader| leader.last_checkpoint.as_ref());
        let checkpoint_age = checkpoint.map(|checkpoint| {
            let age = checkpoint.time.duration_until(Timestamp::now());
            age.as_secs_f64().max(0.0)
        });
        let items = if outlives {
            0
        } else {
            let held = checkpoint.map_or(0, |checkpoint| checkpoint.index);
            stored.indexes_after(held).min(items.into())
        };
        AtRisk { items, checkpoint_age }
    }
}
