//! Golden scripts: small clusters of engines, driven by hand, with every effect written down.
//!
//! A script in `tests/scripts` is a list of blocks: commands, a line `---`, and what they print, up to an empty line.
//! `UPDATE=1 cargo test -p holdfast-engine --test scripts` writes what they print now. The commands are in
//! [`Cluster::command`].

mod cluster;

use std::fmt::Write as _;
use std::path::Path;

use cluster::Cluster;

#[test]
fn scripts_print_what_they_say() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let update = std::env::var_os("UPDATE").is_some();
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .expect("the folder of scripts")
        .map(|entry| entry.expect("a script").path())
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "no scripts in {}", folder.display());
    for path in paths {
        let expected = std::fs::read_to_string(&path).expect("a readable script");
        let actual = play(&expected);
        if update {
            std::fs::write(&path, actual).expect("a writable script");
        } else {
            assert!(actual == expected, "{} prints something else now:\n{actual}", path.display());
        }
    }
}

/// The script with what it prints now.
fn play(script: &str) -> String {
    let mut cluster = Cluster::default();
    let mut played = String::new();
    for block in script.trim_end().split("\n\n") {
        let commands = block.split("\n---").next().unwrap_or_default();
        played.push_str(commands);
        if commands.lines().any(|line| !line.starts_with('#')) {
            played.push_str("\n---");
            for command in commands.lines().filter(|line| !line.starts_with('#')) {
                for line in cluster.command(command) {
                    write!(played, "\n{line}").expect("a string");
                }
            }
        }
        played.push_str("\n\n");
    }
    format!("{}\n", played.trim_end())
}
