//! Runs the tests of one file one after another, on one thing that they share: a cluster, a folder. The usual test
//! harness can neither do that nor take the shared thing down at the end, nor say that a test was left out and why.
//! It prints the same lines, so that whoever counts them need not know the difference.

use std::any::Any;
use std::fmt::Arguments;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

/// One test: its name, and what it does with what the tests share.
pub type Test<C> = (&'static str, fn(&mut C) -> anyhow::Result<()>);

/// The error of a test that this machine cannot run, with the reason.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct LeftOut(pub String);

/// How a test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed(String),
    LeftOut(String),
}

/// Prepare what the tests share, run those that the command line asks for, and let `finish` take it away.
///
/// With `CI=true` a test that is left out has failed.
pub fn run<C>(
    tests: &[Test<C>],
    prepare: impl FnOnce() -> anyhow::Result<C>,
    finish: impl FnOnce(C) -> anyhow::Result<()>,
) -> ExitCode {
    let begin = Instant::now();
    let (options, filters): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument.starts_with("--"));
    if options.iter().any(|option| option == "--list") {
        tests.iter().for_each(|(name, _)| print(format_args!("{name}: test")));
        return ExitCode::SUCCESS;
    }
    let asked_for = |name: &str| filters.is_empty() || filters.iter().any(|filter| name.contains(filter));
    let chosen: Vec<&Test<C>> = tests.iter().filter(|(name, _)| asked_for(name)).collect();
    print(format_args!("\nrunning {} tests", chosen.len()));
    let strict = std::env::var("CI").is_ok_and(|value| value == "true");
    let verdicts = if chosen.is_empty() { Vec::new() } else { judge_all(&chosen, prepare, finish, strict) };
    let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|verdict| wanted(verdict)).count();
    let failed = count(|verdict| matches!(verdict, Verdict::Failed(_)));
    print(format_args!(
        "\ntest result: {}. {} passed; {failed} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s\n",
        if failed == 0 { "ok" } else { "FAILED" },
        count(|verdict| *verdict == Verdict::Passed),
        count(|verdict| matches!(verdict, Verdict::LeftOut(_))),
        tests.len() - chosen.len(),
        begin.elapsed().as_secs_f64()
    ));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Say something about the running test, such as what it measured.
pub fn note(what: Arguments<'_>) {
    print(format_args!("    {what}"));
}

fn judge_all<C>(
    chosen: &[&Test<C>],
    prepare: impl FnOnce() -> anyhow::Result<C>,
    finish: impl FnOnce(C) -> anyhow::Result<()>,
    strict: bool,
) -> Vec<Verdict> {
    let mut shared = match attempt(prepare) {
        Ok(shared) => shared,
        Err(error) => {
            let verdict = judge(Err(error), strict);
            chosen.iter().for_each(|(name, _)| report(name, &verdict, 0.0));
            return vec![verdict; chosen.len()];
        }
    };
    let mut verdicts = Vec::new();
    for (name, test) in chosen {
        let begin = Instant::now();
        let verdict = judge(attempt(|| test(&mut shared)), strict);
        report(name, &verdict, begin.elapsed().as_secs_f64());
        verdicts.push(verdict);
    }
    let begin = Instant::now();
    let verdict = judge(attempt(|| finish(shared)), strict);
    if verdict != Verdict::Passed {
        report("what_the_tests_shared_goes_away", &verdict, begin.elapsed().as_secs_f64());
        verdicts.push(verdict);
    }
    verdicts
}

/// A panic is a failure like any other; what the tests share may be in any state after it, as after any failure.
fn attempt<T>(action: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let words = |panic: Box<dyn Any + Send>| match panic.downcast::<String>() {
        Ok(words) => *words,
        Err(panic) => {
            panic.downcast_ref::<&str>().map_or_else(|| "it panicked".to_owned(), |words| (*words).to_owned())
        }
    };
    catch_unwind(AssertUnwindSafe(action)).unwrap_or_else(|panic| Err(anyhow::Error::msg(words(panic))))
}

fn judge(result: anyhow::Result<()>, strict: bool) -> Verdict {
    match result {
        Ok(()) => Verdict::Passed,
        Err(error) => match error.downcast_ref::<LeftOut>() {
            Some(LeftOut(reason)) if !strict => Verdict::LeftOut(reason.clone()),
            Some(LeftOut(reason)) => {
                Verdict::Failed(format!("left out, which CI=true does not allow: {reason}"))
            }
            None => Verdict::Failed(format!("{error:#}")),
        },
    }
}

fn report(name: &str, verdict: &Verdict, seconds: f64) {
    match verdict {
        Verdict::Passed => print(format_args!("test {name} ... ok ({seconds:.1}s)")),
        Verdict::Failed(error) => print(format_args!("test {name} ... FAILED ({seconds:.1}s)\n    {error}")),
        Verdict::LeftOut(reason) => print(format_args!("test {name} ... ignored, {reason}")),
    }
}

#[expect(clippy::print_stdout, reason = "a test program reports on standard output")]
fn print(line: Arguments<'_>) {
    println!("{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_is_left_out_fails_only_where_that_is_not_allowed() {
        let left_out = || Err(LeftOut("no Go".to_owned()).into());
        assert_eq!(judge(left_out(), false), Verdict::LeftOut("no Go".to_owned()));
        assert!(matches!(judge(left_out(), true), Verdict::Failed(_)));
        // A context around it changes nothing.
        let wrapped = left_out().map_err(|error: anyhow::Error| error.context("no cluster"));
        assert!(matches!(judge(wrapped, false), Verdict::LeftOut(_)));
    }

    #[test]
    fn errors_and_panics_are_failures() {
        assert_eq!(judge(Ok(()), true), Verdict::Passed);
        assert_eq!(judge(attempt(|| anyhow::bail!("no")), false), Verdict::Failed("no".to_owned()));
        assert_eq!(judge(attempt(|| panic!("seven")), false), Verdict::Failed("seven".to_owned()));
    }

    #[test]
    fn nothing_runs_when_what_is_shared_is_missing() {
        let tests: [Test<()>; 2] = [("one", |()| Ok(())), ("two", |()| Ok(()))];
        let chosen: Vec<&Test<()>> = tests.iter().collect();
        let verdicts = judge_all(&chosen, || Err(LeftOut("x".to_owned()).into()), |()| Ok(()), false);
        assert_eq!(verdicts, [Verdict::LeftOut("x".to_owned()), Verdict::LeftOut("x".to_owned())]);
        let verdicts = judge_all(&chosen, || Ok(()), |()| anyhow::bail!("it stays"), false);
        assert_eq!(verdicts.len(), 3, "what does not go away is a failure of its own");
    }
}
