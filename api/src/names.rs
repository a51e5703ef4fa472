//! Every name that more than one part has to spell alike: group, labels, annotations, ports, objects, containers,
//! files, and the types and reasons of conditions. It decides nothing; a name that only one part uses stays there.

/// The API group of every kind.
pub const GROUP: &str = "holdfast.dev";
/// The only version there is.
pub const VERSION: &str = "v1alpha1";
/// `group/version`, as in a manifest's `apiVersion`.
pub const API_VERSION: &str = "holdfast.dev/v1alpha1";
/// The kind of a store.
pub const KIND: &str = "ReplicatedStore";
/// The plural in the API's paths.
pub const PLURAL: &str = "replicatedstores";

/// The kind of an experiment.
pub const EXPERIMENT_KIND: &str = "FaultExperiment";
/// Its plural in the API's paths.
pub const EXPERIMENT_PLURAL: &str = "faultexperiments";

/// Who the lab is in `managedFields` and Events, and what its objects are called.
pub const LAB: &str = "holdfast-lab";
/// The port of the lab, for probes and scrapes.
pub const LAB_PORT: u16 = 8000;
/// The port of the knife: what kills the member beside it, in the pods of an experiment's stores.
pub const KNIFE_PORT: u16 = 7405;

/// Who the operator is in `managedFields`.
pub const FIELD_MANAGER: &str = "holdfast-operator";
/// Who reports the operator's Events.
pub const OPERATOR: &str = "holdfast-operator";
/// The Lease that one operator at a time holds.
pub const OPERATOR_LEASE: &str = "holdfast-operator";

/// Most members of one store: the engine's bound. The sidecar does not compile if both differ.
pub const REPLICAS_MAX: u8 = 7;
/// Longest name of a store, in bytes. A StatefulSet labels its pods with its name and a hash of eleven bytes, and a label
/// holds 63.
pub const STORE_NAME_BYTES_MAX: usize = 52;

/// The port for applications.
pub const CLIENT_PORT: u16 = 7400;
/// The port for the other members.
pub const PEER_PORT: u16 = 7401;
/// The port for probes, scrapes and operators.
pub const ADMIN_PORT: u16 = 7402;
/// On a laptop member `i` has its three ports at the runner's base plus this times `i`.
pub const PORT_STRIDE: u16 = 10;
/// The client port's name in containers and Services.
pub const CLIENT_PORT_NAME: &str = "client";
/// The peer port's name in containers and Services.
pub const PEER_PORT_NAME: &str = "peer";
/// The admin port's name in containers and Services.
pub const ADMIN_PORT_NAME: &str = "admin";

/// The sidecar's container.
pub const CONTAINER: &str = "holdfast";
/// The volume that holds what a member must not forget; the claim's name is this, a hyphen and the pod's name.
pub const DATA_VOLUME: &str = "holdfast-data";
/// The volume that holds the settings file.
pub const SETTINGS_VOLUME: &str = "holdfast-settings";
/// The volume that holds checkpoints outside of the members.
pub const OUTSIDE_VOLUME: &str = "holdfast-outside";
/// Names of containers and volumes that begin so are ours; an application's template may not use them.
pub const RESERVED_PREFIX: &str = "holdfast";
/// Where the data volume is mounted.
pub const DATA_FOLDER: &str = "/var/lib/holdfast";
/// Where the volume outside of the members is mounted; each store has the folder NAMESPACE/NAME there.
pub const OUTSIDE_FOLDER: &str = "/var/lib/holdfast-outside";
/// Where the settings volume is mounted.
pub const SETTINGS_FOLDER: &str = "/etc/holdfast";
/// The settings file's name, in its folder and in its ConfigMap.
pub const SETTINGS_FILE: &str = "settings.yaml";
/// The volume with the token by which a member of a store with consensus InSync reaches its Lease.
pub const TOKEN_VOLUME: &str = "holdfast-token";
/// Where that volume is mounted, as every client of Kubernetes expects it.
pub const TOKEN_FOLDER: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Labels, on every object of a store unless said otherwise.
pub mod label {
    /// What the object is an instance of: [`super::value::NAME`].
    pub const NAME: &str = "app.kubernetes.io/name";
    /// The store's name.
    pub const INSTANCE: &str = "app.kubernetes.io/instance";
    /// [`super::value::COMPONENT`] for a store's objects.
    pub const COMPONENT: &str = "app.kubernetes.io/component";
    /// [`super::FIELD_MANAGER`] for a store's objects.
    pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
    /// The store's name. Selectors go by this label alone, so that the others may change.
    pub const STORE: &str = "holdfast.dev/store";
    /// On pods: `leader` or `follower`, as the operator last saw it. The leader's Service selects by it; nothing that
    /// protects data does, because it lags.
    pub const ROLE: &str = "holdfast.dev/role";
}

/// Values of labels.
pub mod value {
    /// For [`super::label::NAME`].
    pub const NAME: &str = "holdfast";
    /// For [`super::label::COMPONENT`].
    pub const COMPONENT: &str = "store";
    /// For [`super::label::ROLE`].
    pub const LEADER: &str = "leader";
    /// For [`super::label::ROLE`].
    pub const FOLLOWER: &str = "follower";
}

/// Annotations.
pub mod annotation {
    /// On pods: a hash of everything that only a restart brings into effect.
    pub const RESTART_HASH: &str = "holdfast.dev/restart-hash";
    /// On pods: a hash of the settings that the kubelet is to bring to the member without delay.
    pub const SETTINGS: &str = "holdfast.dev/settings";
    /// On the Lease of a store with consensus InSync: who leads and who must have a write, a
    /// [`crate::AuthorityDocument`].
    pub const AUTHORITY: &str = "holdfast.dev/authority";
    /// On a store with consensus InSync, written by a person: `ORDINAL@EPOCH`, start from this member although it may
    /// have lost writes. Carried out once, and only while the store is in this epoch.
    pub const FORCE_START: &str = "holdfast.dev/force-start";
}

/// Types of the store's conditions, and their reasons: a closed set, in CamelCase.
pub mod condition {
    /// The store takes writes at its write concern, and every member is ready.
    pub const READY: &str = "Ready";
    /// The operator is changing something.
    pub const PROGRESSING: &str = "Progressing";
    /// The store serves, but with fewer members than it should have.
    pub const DEGRADED: &str = "Degraded";
    /// No majority of the members is reachable: no writes, no linearizable reads.
    pub const QUORUM_LOST: &str = "QuorumLost";
    /// With consensus InSync: only one member has every write. The next fault stops the store, and if that member's disk is
    /// lost, writes are.
    pub const LAST_COPY: &str = "LastCopy";
    /// With consensus InSync: the Lease that decides who leads is gone, or another one has its name. Nobody can take over
    /// any more.
    pub const AUTHORITY_LOST: &str = "AuthorityLost";
    /// The types of every store, in the order in which a status lists them.
    pub const ALL: [&str; 4] = [READY, PROGRESSING, DEGRADED, QUORUM_LOST];
    /// The further types of stores with consensus InSync.
    pub const IN_SYNC: [&str; 2] = [LAST_COPY, AUTHORITY_LOST];

    /// Why a condition is as it is.
    pub mod reason {
        /// Ready: all members are, and one leads.
        pub const ALL_MEMBERS_READY: &str = "AllMembersReady";
        /// Ready is false, or Degraded true: some members are not.
        pub const MEMBERS_NOT_READY: &str = "MembersNotReady";
        /// Ready is false: nobody leads at the moment.
        pub const NO_LEADER: &str = "NoLeader";
        /// The members have not all found each other for the first time yet.
        pub const FORMING: &str = "Forming";
        /// Objects are being made for the first time.
        pub const CREATING: &str = "Creating";
        /// Members are being restarted, one after the other.
        pub const RESTARTING_MEMBERS: &str = "RestartingMembers";
        /// Members are being added: they have no vote yet.
        pub const ADDING_MEMBERS: &str = "AddingMembers";
        /// Members are being removed: first their votes go, then their pods and volumes.
        pub const REMOVING_MEMBERS: &str = "RemovingMembers";
        /// Progressing is false: everything is as the spec wants it.
        pub const AS_SPECIFIED: &str = "AsSpecified";
        /// The spec cannot be carried out; the message says why.
        pub const INVALID_SPEC: &str = "InvalidSpec";
        /// The API server refused something; the message says what.
        pub const RECONCILE_FAILED: &str = "ReconcileFailed";
        /// A majority of the members is reachable.
        pub const QUORUM: &str = "Quorum";
        /// No majority of the members is reachable.
        pub const NO_QUORUM: &str = "NoQuorum";
        /// A Baseline store lost its state and began anew.
        pub const STARTED_EMPTY: &str = "StartedEmpty";
        /// LastCopy is true: one member is in sync.
        pub const ONE_IN_SYNC: &str = "OneInSync";
        /// LastCopy is false: more than one member is in sync.
        pub const SEVERAL_IN_SYNC: &str = "SeveralInSync";
        /// AuthorityLost is false: the Lease is the one that the store was formed with.
        pub const LEASE_THERE: &str = "LeaseThere";
        /// AuthorityLost is true: there is no Lease.
        pub const LEASE_DELETED: &str = "LeaseDeleted";
        /// AuthorityLost is true: there is another Lease of its name.
        pub const LEASE_REPLACED: &str = "LeaseReplaced";
        /// Nothing is known: no member could be asked.
        pub const UNKNOWN: &str = "Unknown";
    }
}

/// A member's name, which is its pod's.
pub fn member(store: &str, ordinal: u8) -> String {
    format!("{store}-{ordinal}")
}

/// The headless Service in which every pod has a name of its own, ready or not.
pub fn peers_service(store: &str) -> String {
    format!("{store}-peers")
}

/// The Service of all ready members.
pub fn members_service(store: &str) -> String {
    store.to_owned()
}

/// The Service of the leader.
pub fn leader_service(store: &str) -> String {
    format!("{store}-leader")
}

/// The ConfigMap with the settings file.
pub fn settings_config_map(store: &str) -> String {
    format!("{store}-settings")
}

/// The Lease that decides in a store with consensus InSync.
pub fn authority_lease(store: &str) -> String {
    format!("{store}-authority")
}

/// A member's host name, good in every namespace of the cluster. It is not a full name with the cluster's domain,
/// which nobody can be asked for.
pub fn member_host(namespace: &str, store: &str, ordinal: u8) -> String {
    format!("{}.{}.{namespace}.svc", member(store, ordinal), peers_service(store))
}

/// Where the other members reach a member on Kubernetes, as the settings file wants it.
pub fn peer_address(namespace: &str, store: &str, ordinal: u8) -> String {
    format!("{}:{PEER_PORT}", member_host(namespace, store, ordinal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_fit() {
        let store = "s".repeat(STORE_NAME_BYTES_MAX);
        let hash = "-1234567890";
        assert!(store.len() + hash.len() <= 63, "the label controller-revision-hash");
        for service in [peers_service(&store), members_service(&store), leader_service(&store)] {
            assert!(service.len() <= 63, "{service}");
        }
        assert!(member(&store, REPLICAS_MAX).len() <= 63);
    }

    #[test]
    fn group_and_version_make_the_api_version() {
        assert_eq!(API_VERSION, format!("{GROUP}/{VERSION}"));
    }

    #[test]
    fn a_member_is_reached_through_the_headless_service() {
        assert_eq!(peer_address("shop", "orders", 2), "orders-2.orders-peers.shop.svc:7401");
    }
}
