//! Every target, with its samples and a bounded number of mutated inputs, by a seed that is new each time.

use std::process::Command;

/// Run one target in the program, which says how to do it again if that fails. The whole crate takes less than a minute.
fn fuzz(target: &str, inputs: u64) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast-fuzz"));
    program.arg(target).arg(format!("--inputs={inputs}"));
    program.arg("--failures").arg(concat!(env!("CARGO_TARGET_TMPDIR"), "/fuzz-failures"));
    let output = program.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

macro_rules! fuzz {
    ($($name:ident: $target:literal, $inputs:literal;)*) => {
        $(
            #[test]
            fn $name() {
                fuzz($target, $inputs);
            }
        )*

        #[test]
        fn every_target_is_here() {
            let here = [$($target),*];
            assert_eq!(here.to_vec(), holdfast_fuzz::targets::all().iter().map(|target| target.name).collect::<Vec<_>>());
        }
    };
}

fuzz! {
    frames_of_peers: "peer-frame", 20_000;
    greetings_of_peers: "peer-greeting", 20_000;
    parcels_of_files: "files-parcel", 20_000;
    requests_of_clients: "client-request", 20_000;
    replies_to_clients: "client-reply", 20_000;
    greetings_of_clients: "client-greeting", 20_000;
    records_of_the_log: "log-record", 20_000;
    memberships: "membership", 20_000;
    commands: "command", 3_000;
    outcomes: "outcome", 20_000;
    checkpoints: "checkpoint", 2_000;
    folders: "folder", 1_500;
    keys_of_http: "http-key", 20_000;
    queries_of_http: "http-query", 20_000;
    transactions_of_http: "http-txn", 10_000;
    settings: "settings", 3_000;
    transactions: "transaction", 10_000;
    words: "words", 20_000;
}

#[test]
fn every_way_to_fail_is_found_and_made_small() {
    let failures = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("broken");
    let _ = std::fs::remove_dir_all(&failures);
    let mut program = Command::new(env!("CARGO_BIN_EXE_holdfast-fuzz"));
    program.args(["broken", "--minutes=0.4", "--seed=1", "--failures"]).arg(&failures);
    let output = program.output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success(), "{said}");
    for words in ["the panic that was asked for", "has overflowed its stack", "65536 is the limit"] {
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let inputs = std::fs::read_dir(&failures).expect("inputs were kept");
    let inputs = inputs.map(|item| std::fs::read(item.expect("an item").path()).expect("an input"));
    let mut inputs = inputs.collect::<Vec<_>>();
    inputs.sort();
    assert_eq!(inputs, [&b"memory"[..], b"overflow", b"panic"], "{said}");
}
