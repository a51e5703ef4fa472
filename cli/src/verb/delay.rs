//! `holdfast delay`: a member that holds back what its leader sends, or loses it, as a demonstration needs it.

use std::io;

use holdfast_api::{Probability, Span, parse_delay};
use holdfast_client::reply::{FaultsRequest, ProblemCode};
use holdfast_client::{Admin, Error};

use super::{block_on, of_client};
use crate::arguments::Delay;
use crate::discover;
use crate::exit::{Exit, Failure};
use crate::output::print;
use holdfast_laptop::member_name::{find_member, member_name};
use holdfast_laptop::ports::Ports;

/// What the words of the command line mean.
#[derive(Debug, PartialEq, Eq)]
struct Meant<'a> {
    store: Option<&'a str>,
    member: &'a str,
    delay: Option<Wanted>,
}

/// Which delay is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Off,
    For(Span),
}

/// Changes the faults that a member has on purpose, or shows them.
///
/// # Errors
/// There is no such store or member, it does not answer, or it may have no faults.
pub fn run(delay: &Delay) -> Result<Exit, Failure> {
    let meant = Meant::of(&delay.words, delay.admin.is_some())?;
    let (admin, name) = member(delay, &meant)?;
    let admin = Admin::new(&admin).map_err(Failure::usage)?.with_deadline(delay.timeout.get());
    let faults = block_on(async {
        let answered = match change(meant.delay, delay.failure) {
            Some(change) => admin.change_faults(&change).await,
            None => admin.faults().await,
        };
        answered.map_err(explain)
    })?;
    print(delay.printed.output, &faults, |out: &mut dyn io::Write| {
        writeln!(out, "{name} {}", faults.words())
    })?;
    Ok(Exit::Ok)
}

/// The admin address of the member that is meant, and its name.
fn member(delay: &Delay, meant: &Meant<'_>) -> Result<(String, String), Failure> {
    if let Some(admin) = &delay.admin {
        return Ok((admin.clone(), admin.clone()));
    }
    let runner = discover::find_named(meant.store, &delay.target).map_err(Failure::general)?;
    let ordinal = find_member(&runner.store, runner.replicas, meant.member).map_err(Failure::usage)?;
    let ports = Ports::new(runner.port_base, runner.replicas).map_err(Failure::general)?;
    Ok((format!("http://{}", ports.admin(ordinal)), member_name(&runner.store, ordinal)))
}

impl Meant<'_> {
    fn of(words: &[String], addressed: bool) -> Result<Meant<'_>, Failure> {
        let (store, member, delay) = match words {
            [] => (None, "", None),
            [delay] if addressed => (None, "", Some(delay)),
            _ if addressed => {
                return Err(Failure::usage("with --admin there is one word at most: the delay"));
            }
            [member] => (None, member.as_str(), None),
            [member, delay] => (None, member.as_str(), Some(delay)),
            [store, member, delay] => (Some(store.as_str()), member.as_str(), Some(delay)),
            _ => {
                return Err(Failure::usage(
                    "there are three words at most: the store, the member and the delay",
                ));
            }
        };
        let delay = match delay.map(String::as_str) {
            None => None,
            Some("off") => Some(Wanted::Off),
            Some(text) => Some(Wanted::For(parse_delay(text).map_err(Failure::usage)?)),
        };
        Ok(Meant { store, member, delay })
    }
}

/// What is to change; `None` if nothing. Off means that nothing is wrong any more, unless a probability is given with it.
fn change(delay: Option<Wanted>, failure: Option<Probability>) -> Option<FaultsRequest> {
    let (delay, failure) = match delay {
        None => (None, failure),
        Some(Wanted::Off) => (Some(Span::default()), Some(failure.unwrap_or(Probability::NEVER))),
        Some(Wanted::For(delay)) => (Some(delay), failure),
    };
    let change = FaultsRequest { delay: delay.map(|delay| delay.to_string()), failure };
    (change != FaultsRequest::default()).then_some(change)
}

fn explain(error: Error) -> Failure {
    match error.code() {
        Some(ProblemCode::FaultsDisabled) => Failure::general(
            "this member may have no faults on purpose; write under spec of the manifest\n  laptop:\n    faults: Enabled",
        ),
        _ => of_client(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, addressed: bool, expected: Option<(Option<&str>, &str, Option<Wanted>)>) {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let meant = Meant::of(&words, addressed).ok();
        assert_eq!(meant, expected.map(|(store, member, delay)| Meant { store, member, delay }), "{line}");
    }

    #[test]
    fn the_words_are_store_member_and_delay() {
        let two = Some(Wanted::For(Span::from_secs(2)));
        check("1", false, Some((None, "1", None)));
        check("1 2s", false, Some((None, "1", two)));
        check("1 2.0", false, Some((None, "1", two)));
        check("messages-1 off", false, Some((None, "messages-1", Some(Wanted::Off))));
        check("messages 1 2s", false, Some((Some("messages"), "1", two)));
        check("2s", true, Some((None, "", two)));
        check("", true, Some((None, "", None)));
        check("1 soon", false, None);
        check("1 2s", true, None);
    }

    #[test]
    fn off_takes_everything_away() {
        let never = Some(Probability::NEVER);
        let request = |delay: &str, failure| Some(FaultsRequest { delay: Some(delay.to_owned()), failure });
        assert_eq!(change(Some(Wanted::Off), None), request("0s", never));
        assert_eq!(change(Some(Wanted::For(Span::from_secs(2))), None), request("2s", None));
        assert_eq!(change(None, never), Some(FaultsRequest { delay: None, failure: never }));
        assert_eq!(change(None, None), None);
    }
}
