//! `holdfast status`: a store and each of its members, in their own words.

use std::io::Write;

use holdfast_client::Client;
use holdfast_client::reply::Status as Said;
use holdfast_laptop::control::{Answer, Request, ask};
use holdfast_laptop::folder::Registration;
use holdfast_laptop::member_name::member_name;
use holdfast_laptop::supervisor::{Phase, Report};
use tokio::task::JoinSet;

use super::block_on;
use crate::arguments::{Status, TIMEOUT_DEFAULT};
use crate::discover::{self, Found};
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::runner::terminal::{Line, Tone, wants_colour};
use crate::view::{Health, MemberView, StoreView};

/// Shows the store; the exit code says how it is.
///
/// # Errors
/// No store is found, or an address is none. A member that does not answer is a row, not an error.
pub fn run(status: &Status) -> Result<Exit, Failure> {
    let found = discover::reach(&status.reach).map_err(Failure::general)?;
    let reports = found.runner.as_ref().map(reports).transpose()?;
    let members = block_on(ask_all(&found, reports, status))?;
    let store = found.runner.as_ref().map(|runner| format!("{}/{}", runner.namespace, runner.store));
    let view = StoreView::new(store, members);
    print(status.printed.output, &view, |out| table(out, &view, found.runner.as_ref()))?;
    Ok(view.health.exit())
}

/// What the runner says of its processes.
fn reports(runner: &Registration) -> Result<Vec<Report>, Failure> {
    match ask(&runner.socket, &Request::Members).map_err(Failure::general)? {
        Answer::Members { members } => Ok(members),
        Answer::Done { text } | Answer::Refused { text } => Err(Failure::general(text)),
    }
}

/// Asks every member at the same time.
async fn ask_all(
    found: &Found,
    reports: Option<Vec<Report>>,
    status: &Status,
) -> Result<Vec<MemberView>, Failure> {
    let mut questions = JoinSet::new();
    for (place, endpoint) in found.endpoints.iter().enumerate() {
        let client = Client::new([endpoint])
            .map_err(Failure::usage)?
            .with_deadline(status.reach.timeout_or(TIMEOUT_DEFAULT));
        let process = reports.as_ref().and_then(|reports| reports.get(place)).cloned();
        let endpoint = endpoint.clone();
        questions.spawn(async move {
            let (status, error) = match &process {
                // Nobody is there to be asked; somebody else may be on its port.
                Some(report) if report.phase != Phase::Running => (None, None),
                _ => match client.status().await {
                    Ok(status) => (Some(status), None),
                    Err(error) => (None, Some(error.to_string())),
                },
            };
            let member = name(&endpoint, process.as_ref(), status.as_ref());
            (place, MemberView { member, endpoint, process, status, error })
        });
    }
    let mut members = questions.join_all().await;
    members.sort_by_key(|(place, _)| *place);
    Ok(members.into_iter().map(|(_, member)| member).collect())
}

fn name(endpoint: &str, process: Option<&Report>, status: Option<&Said>) -> String {
    let said = status.map(|status| {
        let store = status.store.split_once('/').map_or(status.store.as_str(), |(_, name)| name);
        member_name(store, status.member)
    });
    process.map(|report| report.member.clone()).or(said).unwrap_or_else(|| endpoint.to_owned())
}

fn table(out: &mut dyn Write, view: &StoreView, runner: Option<&Registration>) -> std::io::Result<()> {
    let colour = wants_colour(&std::io::stdout());
    let mut line = |line: Line| writeln!(out, "{}", line.render(usize::MAX, colour));
    let tone = match view.health {
        Health::Ok => Tone::Green,
        Health::Degraded => Tone::Yellow,
        Health::NoQuorum => Tone::Red,
    };
    let store = view.store.as_deref().unwrap_or("unknown store");
    line(Line::new(format!("{store}: {}", view.health.words()), tone))?;
    if let Some(runner) = runner {
        line(Line::new(
            format!("run by pid {}, data in {}", runner.pid, runner.folder.display()),
            Tone::Dim,
        ))?;
    }
    line(Line::new("", Tone::Plain))?;
    for member in view.lines() {
        line(member)?;
    }
    for member in &view.members {
        let note = member.status.as_ref().and_then(|status| status.note.as_ref());
        if let Some(text) = note.or(member.error.as_ref()) {
            line(Line::new(format!("{}: {text}", member.member), Tone::Yellow))?;
        }
    }
    Ok(())
}
