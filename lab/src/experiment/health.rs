//! How a store is, by what its members say of themselves.

use holdfast_api::http::{InSync, Role, Status};
use holdfast_client::Client;
use tokio::task::JoinSet;

/// What every member says, by ordinal; `None` for those that do not answer.
pub(crate) async fn ask(clients: &[Client]) -> Vec<Option<Status>> {
    let mut asked = JoinSet::new();
    for (ordinal, client) in clients.iter().enumerate() {
        let client = client.clone();
        asked.spawn(async move { (ordinal, client.status().await.ok()) });
    }
    let mut said = asked.join_all().await;
    said.sort_by_key(|(ordinal, _)| *ordinal);
    said.into_iter().map(|(_, status)| status).collect()
}

/// Who leads, as far as those who answered know, and what it says of itself.
pub(crate) fn leader(statuses: Vec<Option<Status>>) -> Option<Status> {
    let leads = |status: &Status| status.role == Role::Leader;
    statuses.into_iter().flatten().filter(leads).max_by_key(|status| status.term)
}

/// Whether every member leads or follows the same leader, and that one reaches all others. With consensus InSync every
/// member is in sync, too: who is not could not take over.
pub(crate) fn is_well(statuses: &[Option<Status>]) -> bool {
    let leads = |status: &&Status| status.role == Role::Leader;
    let Some(leader) = statuses.iter().flatten().find(leads) else { return false };
    let well = |status: &Option<Status>| {
        status.as_ref().is_some_and(|status| {
            status.leader == Some(leader.member)
                && status.term == leader.term
                && matches!(status.role, Role::Leader | Role::Follower)
        })
    };
    let in_sync = |in_sync: &InSync| in_sync.members.len() == statuses.len();
    leader.in_sync.as_ref().is_none_or(in_sync)
        && statuses.iter().all(well)
        && leader.peers.iter().all(|peer| peer.connected)
}
