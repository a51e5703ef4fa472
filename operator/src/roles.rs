//! Keeps the role label on the pods, by which the leader's Service selects. For display and routing only: it lags, and nothing that
//! protects data looks at it.

use holdfast_api::names::{FIELD_MANAGER, label, value};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use crate::dereference::Observed;

/// A pod whose label is to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relabel {
    /// The pod.
    pub pod: String,
    /// Which life of that name.
    pub uid: String,
    /// [`value::LEADER`] or [`value::FOLLOWER`].
    pub role: &'static str,
}

/// The labels that are not as they should be, those of former leaders first: a Service had better name nobody than two.
///
/// Without a known leader, only a pod whose member says itself that it does not lead loses the label.
#[must_use]
pub fn relabels(observed: &Observed, leader: Option<u8>) -> Vec<Relabel> {
    let mut relabels: Vec<Relabel> = observed
        .members
        .iter()
        .filter_map(|member| {
            let pod = member.pod.as_ref()?;
            let role = match leader {
                Some(leader) if leader == member.ordinal => value::LEADER,
                Some(_) => value::FOLLOWER,
                None if member.answer.is_some() => value::FOLLOWER,
                None => return None,
            };
            let there = pod.labels().get(label::ROLE).map(String::as_str);
            (there != Some(role)).then(|| Relabel {
                pod: pod.name_any(),
                uid: pod.uid().unwrap_or_default(),
                role,
            })
        })
        .collect();
    relabels.sort_by_key(|relabel| relabel.role == value::LEADER);
    relabels
}

/// Writes the labels.
///
/// # Errors
/// At the first pod that refuses, unless it is gone or another one has its name by now: then there is nothing to label.
pub async fn write(client: &Client, namespace: &str, relabels: &[Relabel]) -> Result<(), kube::Error> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    for Relabel { pod, uid, role } in relabels {
        let patch = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            // The uid makes the API server refuse the label for a pod that came after.
            "metadata": {"name": pod, "uid": uid, "labels": {label::ROLE: role}},
        });
        match pods.patch(pod, &parameters, &Patch::Apply(&patch)).await {
            Ok(_) => {}
            Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409 | 422) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::dereference::Member;

    /// One word per member: the label that its pod has (`leader`, `follower`, `none`, or `gone`), with `?` if it does not answer.
    fn check(words: &str, leader: Option<u8>, expected: &[(&str, &str)]) {
        let members =
            words.split(' ').enumerate().map(|(ordinal, word)| member(ordinal as u8, word)).collect();
        let relabels = relabels(&Observed { members, ..Observed::default() }, leader);
        let found: Vec<_> = relabels.iter().map(|relabel| (relabel.pod.as_str(), relabel.role)).collect();
        assert_eq!(found, expected, "{words}");
    }

    fn member(ordinal: u8, word: &str) -> Member {
        let labels = match word.trim_end_matches('?') {
            "gone" => return Member { ordinal, ..Member::default() },
            "none" => json!({}),
            role => json!({label::ROLE: role}),
        };
        let pod = json!({"metadata": {"name": format!("a-{ordinal}"), "uid": "u", "labels": labels}});
        let answer = json!({
            "store": "s/a", "strategy": "Replication", "member": ordinal, "incarnation": "0", "version": "0",
            "role": "follower", "term": 1, "revision": 1, "peers": [],
            "positions": {"written": 0, "durable": 0, "commit": 0, "applied": 0},
        });
        Member {
            ordinal,
            pod: Some(Arc::new(serde_json::from_value(pod).unwrap())),
            answer: (!word.ends_with('?')).then(|| serde_json::from_value(answer).unwrap()),
            silence: None,
        }
    }

    #[test]
    fn labels_that_are_right_are_left_alone() {
        check("leader follower follower", Some(0), &[]);
        check("leader follower gone", Some(0), &[]);
    }

    #[test]
    fn a_former_leader_loses_the_label_before_the_new_one_gets_it() {
        check("follower follower leader", Some(0), &[("a-2", "follower"), ("a-0", "leader")]);
        check("none none none", Some(1), &[("a-0", "follower"), ("a-2", "follower"), ("a-1", "leader")]);
        // Also when its node is lost and nobody can ask it.
        check("leader? follower follower", Some(1), &[("a-0", "follower"), ("a-1", "leader")]);
    }

    #[test]
    fn without_a_leader_only_those_who_say_so_do_not_lead() {
        check("leader? follower follower", None, &[]);
        check("leader follower none?", None, &[("a-0", "follower")]);
    }
}
