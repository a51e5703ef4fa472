//! Other programs: run one, and say plainly which one failed and what it said. Nothing here hides a failure; whoever
//! wants to ignore one does so in the open, where it calls.

use std::ffi::OsStr;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, bail};

/// Most characters of a failed program's last words that an error carries: a screen full.
const LAST_WORDS_MAX: usize = 4000;

/// A command from its words, the program first.
pub fn words<S: AsRef<OsStr>>(words: impl IntoIterator<Item = S>) -> Command {
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().expect("a program's name"));
    command.args(words);
    command
}

/// Cargo with these arguments, as a person would start it.
///
/// Cargo tells a program that it runs which crate it is of, by variables that build scripts of dependencies look at too: passed on
/// to another cargo, they would have those crates, and everything above them, compiled again.
pub fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments);
    for (name, _) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_"))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Run it to its end, without input, and return what it printed.
///
/// # Errors
///
/// If it cannot be started or ends badly; the error holds the command and the end of all it said.
pub fn capture(command: &mut Command) -> anyhow::Result<String> {
    finish(command, None)
}

/// As [`capture`], with `input` on its standard input.
///
/// # Errors
///
/// As [`capture`].
pub fn feed(command: &mut Command, input: &str) -> anyhow::Result<String> {
    finish(command, Some(input))
}

/// Run it on this terminal, so that its progress is seen.
///
/// # Errors
///
/// If it cannot be started or ends badly.
pub fn show(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| format!("cannot start `{}`", line(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Whether a program of this name is on the path.
pub fn exists(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// The command as a person would type it, but for the quoting.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn finish(command: &mut Command, input: Option<&str>) -> anyhow::Result<String> {
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot start `{}`", line(command)))?;
    if let Some(input) = input {
        // A program that ends before it read everything says why itself; the broken pipe adds nothing.
        let _ = child.stdin.take().expect("a piped input").write_all(input.as_bytes());
    }
    let output = child.wait_with_output().with_context(|| format!("cannot wait for `{}`", line(command)))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let all = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        let skipped = all.chars().count().saturating_sub(LAST_WORDS_MAX);
        let words: String = all.chars().skip(skipped).collect();
        bail!("`{}` ended with {}: {}", line(command), output.status, words.trim());
    }
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_carries_what_the_program_said() {
        let error =
            capture(&mut words(["sh", "-c", "echo out; echo err >&2; exit 3"])).unwrap_err().to_string();
        for part in ["out", "err", "exit status: 3"] {
            assert!(error.contains(part), "{part:?} is missing in {error:?}");
        }
    }

    #[test]
    fn input_reaches_the_program() {
        assert_eq!(feed(&mut words(["cat"]), "hello").unwrap(), "hello");
    }

    #[test]
    fn only_programs_on_the_path_exist() {
        assert!(exists("sh"));
        assert!(!exists("no-such-program"));
    }
}
