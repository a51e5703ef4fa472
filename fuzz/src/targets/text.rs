//! Text that people and programs write: the settings file, transactions in JSON, and the small words in both and in
//! queries.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use holdfast_api::http::{TxnOperation, TxnRequest};
use holdfast_api::{Settings, Span, WriteConcern};

use super::{SMALL, memory};
use crate::{Target, shape};

/// The settings file.
pub(super) const SETTINGS: Target = Target {
    name: "settings",
    about: "the settings file of a member",
    samples: || vec![SETTINGS_FILE.as_bytes().to_vec(), BASELINE_FILE.as_bytes().to_vec()],
    words: SETTINGS_WORDS,
    mend: None,
    run: read_settings,
    // The YAML reader keeps events, and every word beside its place.
    memory: memory(1024 * 1024, 400),
};

/// The body of `POST /v1/txn`.
pub(super) const TRANSACTION: Target = Target {
    name: "transaction",
    about: "transactions as JSON",
    samples: transactions,
    words: TRANSACTION_WORDS,
    mend: None,
    run: read_transaction,
    memory: memory(SMALL, 200),
};

/// Lengths of time and write concerns.
pub(super) const WORDS: Target = Target {
    name: "words",
    about: "lengths of time and write concerns, as settings and queries have them",
    samples: || {
        ["1m30s", "999999h", "250ms", "majority", "all", "3"].map(|word| word.as_bytes().to_vec()).to_vec()
    },
    words: &["h", "m", "s", "ms", "000000", "999999", "majority", "all", "+", "-", " "],
    mend: None,
    run: read_words,
    memory: memory(SMALL, 12),
};

const SETTINGS_FILE: &str = "\
store:
  namespace: shop
  name: orders
  uid: 7d6c1e0a
replicas: 3
strategy: Hybrid
consensus: Majority
durability: Disk
writeConcern: majority
heartbeat:
  interval: 100ms
  timeout: 1s
checkpoint:
  interval: 5m
  retain: 3
peers:
- orders-0.orders-peers.shop.svc:7401
- orders-1.orders-peers.shop.svc:7401
- '[::1]:7401'
";

const BASELINE_FILE: &str = "\
store: {namespace: default, name: a}
replicas: 1
strategy: Baseline
consensus: Majority
durability: Memory
writeConcern: 1
heartbeat: {interval: 100ms, timeout: 1s}
peers: ['127.0.0.1:7401']
";

const SETTINGS_WORDS: &[&str] = &[
    "&a",
    "*a",
    "<<: *a",
    "!!str ",
    "!!binary ",
    "---\n",
    "...\n",
    "? ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ": ",
    "|\n",
    ">-\n",
    "\"\\u0000\"",
    "~",
    "null",
    "true",
    ".inf",
    "0x7f",
    "1e9",
    "%YAML 1.2\n",
    "\t",
    "Replication",
    "Checkpointing",
    "all",
    "uid: ",
    "\n  ",
];

const TRANSACTIONS: &[&str] = &[
    r#"{"compare": [{"key": "lock", "version": 0}], "success": [{"put": {"key": "lock", "value": "me"}}], "failure": [{"get": {"key": "lock"}}]}"#,
    r#"{"compare":[{"key":"a","operator":"<","modRevision":5},{"key":"b","operator":"!=","valueBase64":"AAEC/w=="},{"key":"c","operator":">","createRevision":1},{"key":"\u00e9","value":""}],"success":[{"delete":{"prefix":"x/"}},{"get":{"prefix":"","limit":3}},{"put":{"key":"k","valueBase64":""}}]}"#,
    "{}",
];

pub(super) const TRANSACTION_WORDS: &[&str] = &[
    "\"key\":\"a\"",
    "\"prefix\":\"\"",
    "\"limit\":1",
    "\"value\":",
    "\"valueBase64\":",
    "\"version\":",
    "\"operator\":\"=\"",
    "{\"put\":{",
    "{\"delete\":{",
    "{\"get\":{",
    "}}",
    ",",
    "[",
    "]",
    "null",
    "18446744073709551615",
    "-1",
    "1e400",
    "\"\\ud800\"",
    "\"=A==\"",
    "\"\\u0000\"",
];

/// Transactions with all that they can have.
pub(super) fn transactions() -> Vec<Vec<u8>> {
    TRANSACTIONS.iter().map(|text| text.as_bytes().to_vec()).collect()
}

fn read_settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Settings::read(text) {
        Ok(settings) => {
            let again = Settings::read(&settings.to_yaml()).expect("settings that were written can be read");
            assert_eq!(again, settings);
            assert_eq!(again.to_yaml(), settings.to_yaml());
            settings.check_change(&settings).expect("settings may stay as they are");
            shape::note(&settings);
        }
        Err(error) => {
            assert!(!error.to_string().is_empty());
            shape::note(&error);
        }
    }
}

fn read_transaction(bytes: &[u8]) {
    let Ok(request) = serde_json::from_slice::<TxnRequest>(bytes) else { return };
    let written = serde_json::to_vec(&request).expect("it can be written");
    assert_eq!(serde_json::from_slice::<TxnRequest>(&written).expect("it was just written"), request);
    for compare in &request.compare {
        shape::note(&compare.target().is_ok());
    }
    for operation in request.success.iter().chain(&request.failure) {
        if let TxnOperation::Put(put) = operation {
            shape::note(&put.bytes().is_ok());
        }
    }
    shape::note(&request);
}

fn read_words(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_word::<Span>(text);
    check_word::<WriteConcern>(text);
}

/// What was read is written so that it reads the same, and the longest message is short.
fn check_word<T: FromStr<Err: Display + Debug> + Display + PartialEq + Debug>(text: &str) {
    match text.parse::<T>() {
        Ok(word) => {
            let again = word.to_string().parse::<T>().expect("it was just written");
            assert_eq!(again, word);
            shape::note(&word);
        }
        Err(error) => {
            assert!(error.to_string().len() < 1000, "{} bytes of message", error.to_string().len());
            shape::note(&error);
        }
    }
}
