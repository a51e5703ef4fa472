//! One experiment on a store of pods, or one of its steps: as `experiment` has it for processes of this machine, with what is different about pods.
//!
//! A failure is SIGKILL to the member's process by the knife beside it; the container's restart, which recovery waits for where nobody else can
//! take over, is the kubelet's. `pod_kill` deletes the pod without grace: the kubelet sends SIGTERM before it kills, so a leader may hand over,
//! and the pod is made anew, perhaps elsewhere. The clock starts before the request goes out. Refuses to wait for anything but the store.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::try_join_all;
use holdfast_client::{NativeClient, Value};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{DeleteParams, Preconditions};
use reqwest::Method;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::members::{self, Member, Members};
use super::store::{Made, Stores};
use crate::experiment::fault::{Fault, LASTS};
use crate::experiment::items;
use crate::experiment::load::Load;
use crate::experiment::recovery::{ANSWER_MAX, Found as Answer, Recovered, ask};
use crate::experiment::{AtRisk, Found};
use crate::rest::place::Sample;
use crate::{Configuration, FailureKind, Measurement, Protocol, TestbedError};

/// A store that does not answer for so long after a failure is given up: a pod that is made anew is there within ten seconds if its node has the
/// images.
pub(super) const RECOVERY_MAX: Duration = Duration::from_secs(60);
/// A store that is not whole has so long for each page of items.
const READ_MAX: Duration = Duration::from_secs(3);
/// How often a pod that is made anew is looked for.
const POD_PAUSE: Duration = Duration::from_millis(20);

/// A store, and how it is found.
pub(super) struct Subject<'a> {
    pub(super) stores: &'a Stores,
    pub(super) made: &'a Made,
    pub(super) http: &'a reqwest::Client,
    /// How many members may fail at a time while the others go on.
    pub(super) tolerates: u8,
}

/// A failure that has happened.
pub(super) struct Strike {
    /// Right before it.
    pub(super) began: Instant,
    /// What happened to whom.
    pub(super) hits: Vec<(u8, Hit)>,
}

/// What happened to one member.
pub(super) enum Hit {
    /// This process was killed.
    Killed(String),
    /// It stands still.
    Paused,
    /// Its pod was deleted.
    Deleted,
}

impl Subject<'_> {
    /// Runs one experiment on a store that is ready and empty.
    pub(super) async fn measure(
        &self,
        members: &Members,
        configuration: &Configuration,
        protocol: &Protocol,
        run_id: u32,
    ) -> Result<Measurement, TestbedError> {
        let seed = protocol.seed.wrapping_add(run_id.into());
        let stored = items::store(&members.all, protocol.items, seed).await?;
        let load = Load::begin(&members.addresses(), protocol.writers).await?;
        let replicas = configuration.replicas;
        let fault = self.aim(members, protocol.failure_type, protocol.node_count, seed).await?;
        let triggered = protocol.trigger_checkpoint && configuration.strategy.takes_checkpoints();
        if triggered {
            members.take_checkpoint(fault.serving()).await?;
        }
        let leader = members.leader().await;
        let at_risk =
            AtRisk::find(leader.as_ref(), configuration.strategy.replicates(), &stored, protocol.items);
        let sample = stored.sample().map_or((items::key(0), None), |(key, value)| (key, Some(value)));

        let strike = self.strike(members, &fault).await?;
        let recovered = self.recover(members, sample, &fault, &strike).await;

        self.mend(members, &fault).await?;
        // A store that cannot be whole again, such as one that lost a majority of its memories, is what is being measured.
        let well = Members::well(self.stores, self.made, replicas, self.http, RECOVERY_MAX).await.ok();
        let reader = well.as_ref().map_or(&members.all, |members| &members.all);
        let load = load.end(reader, strike.began, well.is_some()).await;
        let items_recovered =
            items::count(reader, &stored, if well.is_some() { RECOVERY_MAX } else { READ_MAX }).await;
        let note = recovered.note(configuration, &fault, well.is_some());
        Ok(Found { stored, triggered, at_risk, recovered, load, items_recovered, note }.measurement(protocol))
    }

    /// Finds out whom a failure is to hit, and takes up the knives. `chance` chooses among those who are alike.
    pub(super) async fn aim(
        &self,
        members: &Members,
        kind: FailureKind,
        node_count: u8,
        chance: u64,
    ) -> Result<Fault, TestbedError> {
        let serving = members.leader().await.map(|leader| leader.member);
        let fault = Fault::among(members.members.len() as u8, serving, kind, node_count, chance)?;
        try_join_all(fault.members().iter().map(|member| members.take_up(*member))).await?;
        Ok(fault)
    }

    /// Has a failure happen.
    pub(super) async fn strike(&self, members: &Members, fault: &Fault) -> Result<Strike, TestbedError> {
        // Asked once more right before: what is struck must still be what was made.
        if members::find(self.stores, self.made).await? != members.members {
            return Err(TestbedError::new(
                "injecting the failure",
                "the pods are not those of the beginning any more",
            ));
        }
        let began = Instant::now();
        let hits = fault.members().iter().map(|member| self.hit(members, fault, *member));
        Ok(Strike { began, hits: try_join_all(hits).await? })
    }

    /// Ends a failure that does not end by itself: who stands still goes on. Who was killed, kubelets start again.
    pub(super) async fn mend(&self, members: &Members, fault: &Fault) -> Result<(), TestbedError> {
        if fault.kind() == FailureKind::Pause {
            for member in fault.members() {
                members.knife(*member, Method::POST, "/continue").await?;
            }
        }
        Ok(())
    }

    async fn hit(&self, members: &Members, fault: &Fault, ordinal: u8) -> Result<(u8, Hit), TestbedError> {
        let hit = match fault.kind() {
            FailureKind::PodKill => {
                let member = members.member(ordinal);
                let uid = Some(member.pod_uid.clone());
                let parameters = DeleteParams::default()
                    .grace_period(0)
                    .preconditions(Preconditions { uid, resource_version: None });
                let pods: Api<Pod> = Api::namespaced(self.stores.client.clone(), &self.stores.namespace);
                let deleted = pods.delete(&member.pod, &parameters).await;
                deleted.map_err(|source| TestbedError::new("injecting the failure", source))?;
                Hit::Deleted
            }
            FailureKind::Pause => {
                members.knife(ordinal, Method::POST, "/stop").await?;
                Hit::Paused
            }
            _ => Hit::Killed(members.knife(ordinal, Method::POST, "/kill").await?),
        };
        Ok((ordinal, hit))
    }

    /// Asks until somebody answers.
    pub(super) async fn recover(
        &self,
        members: &Members,
        (key, value): Sample,
        fault: &Fault,
        strike: &Strike,
    ) -> Recovered {
        let Strike { began, hits } = strike;
        // Somebody who is alone has nobody to take over: a pause ends by itself then.
        let ends = !fault.kills() && self.tolerates == 0;
        let mut asking = JoinSet::new();
        for (member, native) in members.members.iter().zip(&members.natives) {
            let hit = hits.iter().find(|(ordinal, _)| *ordinal == member.ordinal).map(|(_, hit)| hit);
            let (member, key) = (member.clone(), key.clone());
            match hit {
                Some(Hit::Paused) if !ends => {}
                None | Some(Hit::Paused) => {
                    let native = native.clone();
                    asking.spawn(async move { ask(&native.with_deadline(ANSWER_MAX), &key).await });
                }
                Some(Hit::Killed(pid)) => {
                    let (knife, http) = (members.gone_url(&member, pid), self.http.clone());
                    asking.spawn(async move {
                        // A process that is to die must not answer. A knife that is cut off says nothing; then the port does.
                        let _ = http.get(knife).send().await;
                        ask_anew(&member, &key).await
                    });
                }
                Some(Hit::Deleted) => {
                    let (stores, made) = (self.stores.clone(), self.made.clone());
                    asking.spawn(async move {
                        let anew = made_anew(&stores, &made, &member).await;
                        ask_anew(&anew, &key).await
                    });
                }
            }
        }
        let mend = async {
            if !ends {
                return std::future::pending().await;
            }
            // The failure's own length, not a wait of ours.
            sleep(LASTS.saturating_sub(began.elapsed())).await;
            for member in fault.members() {
                // Tried once more afterwards, and then it counts.
                let _ = members.knife(*member, Method::POST, "/continue").await;
            }
            std::future::pending::<()>().await;
        };
        let first = async {
            tokio::select! {
                Some(answer) = asking.join_next() => answer.ok().flatten(),
                () = mend => None,
            }
        };
        let answered = timeout(RECOVERY_MAX, first).await;
        let took = began.elapsed();
        Recovered { took, found: judge(answered.ok(), value.as_ref()) }
    }
}

fn judge(answered: Option<Option<Value>>, expected: Option<&Bytes>) -> Answer {
    match answered {
        None => Answer::Nobody,
        Some(value) if value.is_some() && value.as_ref().map(|value| &value.bytes) == expected => {
            Answer::Data
        }
        Some(_) => Answer::Nothing,
    }
}

/// Asks a member that is another process than before, as soon as it listens.
async fn ask_anew(member: &Member, key: &str) -> Option<Value> {
    member.listens().await;
    let client = NativeClient::new([member.client()]).expect("it was one before, or is like it");
    ask(&client.with_deadline(ANSWER_MAX), key).await
}

/// The pod of the same name that came after this one.
async fn made_anew(stores: &Stores, made: &Made, before: &Member) -> Member {
    loop {
        let found = members::find(stores, made).await.unwrap_or_default();
        let anew =
            found.into_iter().find(|now| now.ordinal == before.ordinal && now.pod_uid != before.pod_uid);
        match anew {
            Some(anew) => return anew,
            None => sleep(POD_PAUSE).await,
        }
    }
}
