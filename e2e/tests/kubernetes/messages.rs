//! The message log, through the Services that applications use.

use std::time::Duration;

use anyhow::ensure;
use holdfast_api::WriteConcern;
use holdfast_api::http::ProblemCode;
use holdfast_api::names::{leader_service, members_service};
use holdfast_client::{AppendOptions, Client, Error, Followed, LogConsistency};

use crate::shared::Shared;

/// What one call may take. It takes milliseconds; the machine may do much else.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages that are appended by way of each Service.
const MESSAGES: u64 = 20;

pub(crate) fn through_services(shared: &mut Shared) -> anyhow::Result<()> {
    shared.settled()?;
    let members = shared.kubernetes.service_base(&members_service(&shared.store))?;
    let leader = shared.kubernetes.service_base(&leader_service(&shared.store))?;
    shared.kubernetes.on_node(0, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(append_and_read(&members, &leader))
    })
}

async fn append_and_read(members: &str, leader: &str) -> anyhow::Result<()> {
    let log = |base: &str| Ok::<_, anyhow::Error>(Client::new([base])?.with_deadline(PATIENCE).messages());
    let (members, leader) = (log(members)?, log(leader)?);
    let concerns = [None, Some(WriteConcern::Members(1)), Some(WriteConcern::Majority)];
    for number in 0..MESSAGES {
        for (name, log) in [("members", &members), ("leader", &leader)] {
            let options = AppendOptions { concern: concerns[number as usize % 3], key: None };
            let reply = log.append(format!("{number} by {name}"), options).await?;
            ensure!(reply.warning.is_none(), "{reply:?}");
        }
    }
    let count = 2 * MESSAGES;
    match leader.append("0 by members", AppendOptions::default()).await {
        Err(Error::Refused(problem)) if problem.code == ProblemCode::DuplicateMessage => {
            ensure!(problem.id == Some(1), "{problem:?}");
        }
        other => anyhow::bail!("a duplicate: {other:?}"),
    }
    let one = members.read(1, None, LogConsistency::Linearizable).await?;
    let other = leader.read(1, None, LogConsistency::Linearizable).await?;
    ensure!(one.messages == other.messages, "the Services show different logs");
    let ids: Vec<u64> = one.messages.iter().map(|message| message.id).collect();
    ensure!(ids == (1..=count).collect::<Vec<_>>(), "{ids:?}");
    let mut follow = members.follow(Some(1));
    for message in one.messages {
        let next = tokio::time::timeout(PATIENCE, follow.next()).await??;
        ensure!(next == Followed::Message(message.clone()), "{next:?} instead of {message:?}");
    }
    Ok(())
}
