//! What is done to every store of an experiment. Only what is the same for all of them is comparable.

use serde::{Deserialize, Serialize};

use crate::FailureKind;

/// How many items a run stores when nobody says otherwise, as the protocol has it.
pub const ITEMS_DEFAULT: u32 = 100;

/// What is done to a store: items are stored, it fails, it comes back, every item is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Protocol {
    /// How many items are stored before the failure.
    pub items: u32,
    /// The failure.
    pub failure_type: FailureKind,
    /// How many members fail, for `node_count`.
    pub node_count: u8,
    /// Whether a checkpoint is taken right before the failure, by strategies that take any. It is what the protocol means by
    /// "since the last checkpoint".
    pub trigger_checkpoint: bool,
    /// How many clients go on writing during the failure; 0 is none.
    pub writers: u16,
    /// What everything random in a run is drawn from, together with the run's number.
    pub seed: u64,
}

impl Default for Protocol {
    fn default() -> Protocol {
        Protocol {
            items: ITEMS_DEFAULT,
            failure_type: FailureKind::Default,
            node_count: 1,
            trigger_checkpoint: true,
            writers: 0,
            seed: 1,
        }
    }
}
