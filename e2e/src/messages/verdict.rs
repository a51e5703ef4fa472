//! What members have, and whether it is what clients were told.

use std::collections::{HashMap, HashSet};

use anyhow::{Context as _, ensure};
use holdfast_api::http::{LogMessage, MessagesReply};

use super::{LOG, Report, Told};
use crate::http::Http;

/// Messages on one page.
const PAGE: usize = 2_000;

/// One message, as a member has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    text: String,
    hash: String,
    time: String,
}

impl Stored {
    pub(super) fn of(message: &LogMessage) -> anyhow::Result<Stored> {
        let text = message.message.clone().context("a message that nobody sent: it is no text")?;
        Ok(Stored { text, hash: message.hash.clone(), time: message.timestamp.to_string() })
    }
}

/// All committed messages of one member, which must be numbered from 1 without a gap.
pub(super) async fn list(http: &Http, base: &str) -> anyhow::Result<Vec<Stored>> {
    let mut all = Vec::new();
    let mut from = 1;
    loop {
        let url = format!("{base}/v1/logs/{LOG}/messages?read=committed&from={from}&limit={PAGE}");
        let page: MessagesReply = serde_json::from_str(&http.text(&url).await?)?;
        for message in &page.messages {
            ensure!(message.sequence == all.len() as u64 + 1, "{base} has {} next", message.sequence);
            ensure!(message.id == message.sequence && message.committed, "{base}: {message:?}");
            all.push(Stored::of(message)?);
        }
        match page.next {
            Some(next) => from = next,
            None => return Ok(all),
        }
    }
}

/// Hold what members have against each other and against what clients were told.
pub(super) fn judge(told: &[Told], lists: &[Vec<Stored>]) -> anyhow::Result<Report> {
    let first = lists.first().context("no member")?;
    for (member, list) in lists.iter().enumerate() {
        let other = list.iter().zip(first).position(|(one, other)| one != other);
        ensure!(
            other.is_none() && list.len() == first.len(),
            "member {member} differs from member 0 at {other:?}"
        );
    }
    ensure!(first.windows(2).all(|pair| time(&pair[0]) <= time(&pair[1])), "time runs backwards");
    let sent: HashSet<&str> = told.iter().map(|told| told.text.as_str()).collect();
    ensure!(sent.len() == told.len(), "a client has told of one message twice");
    let mut places: HashMap<&str, u64> = HashMap::new();
    for (stored, id) in first.iter().zip(1..) {
        ensure!(sent.contains(stored.text.as_str()), "nobody sent message {id}: {stored:?}");
        let before = places.insert(&stored.text, id);
        ensure!(before.is_none(), "{:?} is message {id} and {before:?}", stored.text);
    }
    let mut report = Report { stored: first.len() as u64, ..Report::default() };
    for Told { text, id, committed, short, retries } in told {
        report.retries += retries;
        report.short += u64::from(*short);
        report.promised += u64::from(*committed);
        match places.get(text.as_str()) {
            Some(place) if committed & (place != id) => {
                anyhow::bail!("{text:?} is message {place}, and was promised as {id}")
            }
            Some(_) => {}
            None if *committed => anyhow::bail!("{text:?} was promised as message {id}, and is not there"),
            None => report.lost_with_one += 1,
        }
    }
    Ok(report)
}

fn time(stored: &Stored) -> jiff::Timestamp {
    stored.time.parse().expect("it was written from a time")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, id: u64, committed: bool) -> Told {
        Told { text: text.to_owned(), id, committed, short: false, retries: 0 }
    }

    fn list(texts: &[&str]) -> Vec<Stored> {
        let stored = texts.iter().zip(1..).map(|(text, second)| Stored {
            text: (*text).to_owned(),
            hash: "ab".to_owned(),
            time: format!("2023-11-14T22:13:{second:02}Z"),
        });
        stored.collect()
    }

    fn check(told: &[Told], lists: &[Vec<Stored>], wrong: &str) {
        let error = judge(told, lists).expect_err(wrong).to_string();
        assert!(error.contains(wrong), "{error}");
    }

    #[test]
    fn whatever_is_not_as_promised_is_found() {
        let good = [told("a", 1, true), told("b", 2, false), told("c", 2, true)];
        let report = judge(&good, &[list(&["a", "c"]), list(&["a", "c"])]).expect("as promised");
        assert_eq!((report.stored, report.promised, report.lost_with_one), (2, 2, 1));
        check(&good, &[list(&["a", "c"]), list(&["c", "a"])], "differs");
        check(&good, &[list(&["a", "c"]), list(&["a"])], "differs");
        check(&good, &[list(&["a"])], "is not there");
        check(&good, &[list(&["c", "a"])], "was promised as");
        check(&good, &[list(&["a", "c", "a"])], "is message 3");
        check(&good, &[list(&["a", "c", "x"])], "nobody sent");
        let mut backwards = list(&["a", "c"]);
        backwards[1].time = "2020-01-01T00:00:00Z".to_owned();
        check(&good, &[backwards], "backwards");
    }
}
