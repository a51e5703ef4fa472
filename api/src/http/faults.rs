//! The faults that a member has on purpose: `GET`, `PUT` and `DELETE /v1/faults` on its admin port, and in its status.

use serde::{Deserialize, Serialize};

use crate::{Probability, Span};

/// What `PUT /v1/faults` takes: what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultsRequest {
    /// How long entries from the leader are held back: a length of time such as `2s`, or seconds such as `2.0`. `0s` is not
    /// at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<String>,
    /// How likely a message with entries is lost, from 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Probability>,
}

/// The faults that a member may have, as they are now. Absent from the status of a member that may have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FaultsStatus {
    /// How long it holds back entries from its leader, and so its acknowledgements.
    pub delay: Span,
    /// How likely it loses a message with entries.
    pub failure: Probability,
    /// Messages that are held back at this moment.
    pub held: u64,
    /// Messages that it has lost on purpose since it started.
    pub lost: u64,
}

impl FaultsStatus {
    /// Whether it holds back or loses anything.
    pub fn is_on(&self) -> bool {
        *self != FaultsStatus { delay: Span::default(), failure: Probability::NEVER, ..*self }
    }

    /// What it does, in words.
    pub fn words(&self) -> String {
        let FaultsStatus { delay, failure, .. } = self;
        match (*delay > Span::default(), !failure.is_never()) {
            (true, true) => format!(
                "holds back entries for {delay} and loses them with probability {failure}, on purpose"
            ),
            (true, false) => format!("holds back entries for {delay}, on purpose"),
            (false, true) => format!("loses entries with probability {failure}, on purpose"),
            (false, false) => "may hold back and lose entries on purpose; does neither now".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_said_in_words() {
        let check = |seconds, failure, on, words: &str| {
            let failure = Probability::new(failure).expect("a probability");
            let status = FaultsStatus { delay: Span::from_secs(seconds), failure, held: 3, lost: 1 };
            assert_eq!((status.is_on(), status.words().contains(words)), (on, true), "{}", status.words());
        };
        check(2, 0.1, true, "for 2s and loses them with probability 0.1, on purpose");
        check(2, 0.0, true, "holds back entries for 2s, on purpose");
        check(0, 0.5, true, "loses entries with probability 0.5");
        check(0, 0.0, false, "does neither now");
    }
}
