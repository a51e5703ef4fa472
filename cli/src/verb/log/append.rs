//! `holdfast log append`.

use std::io::{self, BufRead, Read};

use holdfast_api::{Span, WriteConcern};
use holdfast_client::reply::{AppendReply, LOG_DEFAULT};
use holdfast_client::{AppendOptions, Log};

use super::{block_on, client, of_client};
use crate::arguments::{LogAppend, Printed};
use crate::exit::{Exit, Failure};
use crate::output::print;

/// How long an append waits if nobody says: as long as a member does by itself.
const TIMEOUT: Span = Span::from_secs(30);

/// Largest message that is read from standard input: a byte more than what a log takes, so that the log says no.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024 + 1;

pub(super) fn run(append: LogAppend) -> Result<Exit, Failure> {
    let LogAppend { words, lines, concern, key, reach, printed } = append;
    let (log, message) = meant(words, lines)?;
    let log = client(&reach, TIMEOUT)?.log(&log);
    block_on(async {
        match message.as_deref() {
            None => each_line(&log, concern, printed).await,
            Some("-") => one(&log, standard_input()?, concern, key, printed).await,
            Some(message) => one(&log, message.as_bytes().to_vec(), concern, key, printed).await,
        }
    })
}

/// The log and the message; no message with `--lines`.
fn meant(words: Vec<String>, lines: bool) -> Result<(String, Option<String>), Failure> {
    let mut words = words.into_iter();
    let default = || LOG_DEFAULT.to_owned();
    match (words.next(), words.next(), lines) {
        (Some(log), Some(message), false) => Ok((log, Some(message))),
        (Some(message), None, false) => Ok((default(), Some(message))),
        (None, _, false) => {
            Err(Failure::usage("there is no message; write it, or - for standard input, or --lines"))
        }
        (log, None, true) => Ok((log.unwrap_or_else(default), None)),
        (_, Some(_), true) => Err(Failure::usage("with --lines the messages come from standard input")),
    }
}

async fn one(
    log: &Log,
    message: Vec<u8>,
    concern: WriteConcern,
    key: Option<String>,
    printed: Printed,
) -> Result<Exit, Failure> {
    let options = AppendOptions { concern: Some(concern), key };
    let reply = log.append(message, options).await.map_err(of_client)?;
    show(&reply, printed)
}

async fn each_line(log: &Log, concern: WriteConcern, printed: Printed) -> Result<Exit, Failure> {
    let mut exit = Exit::Ok;
    for line in io::stdin().lock().split(b'\n') {
        let mut line = line.map_err(cannot_read)?;
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        if line.is_empty() {
            continue;
        }
        if one(log, line, concern, None, printed).await? != Exit::Ok {
            exit = Exit::Degraded;
        }
    }
    Ok(exit)
}

fn show(reply: &AppendReply, printed: Printed) -> Result<Exit, Failure> {
    print(printed.output, reply, |out| writeln!(out, "{}", line(reply)))?;
    let Some(warning) = &reply.warning else { return Ok(Exit::Ok) };
    crate::remark(&format!("warning: {warning}"));
    Ok(Exit::Degraded)
}

fn line(reply: &AppendReply) -> String {
    let members: Vec<String> = reply.concern.members.iter().map(u8::to_string).collect();
    let who = match members.as_slice() {
        [] => format!("{} members have it", reply.concern.reached),
        [one] => format!("member {one} has it"),
        several => format!("members {} have it", several.join(", ")),
    };
    let committed = if reply.committed { "committed" } else { "not committed yet" };
    format!("{} {}: {who}, {committed}, {:.1} ms", reply.log, reply.id, reply.duration_ms)
}

fn standard_input() -> Result<Vec<u8>, Failure> {
    let mut message = Vec::new();
    io::stdin().lock().take(MESSAGE_BYTES_MAX).read_to_end(&mut message).map_err(cannot_read)?;
    Ok(message)
}

fn cannot_read(error: io::Error) -> Failure {
    Failure::general(format!("cannot read standard input: {error}"))
}

#[cfg(test)]
mod tests {
    use holdfast_client::reply::AppendConcern;

    use super::*;

    #[test]
    fn the_log_stands_before_the_message() {
        let of = |words: &[&str], lines| {
            meant(words.iter().map(|word| (*word).to_owned()).collect(), lines)
                .map_err(|failure| failure.exit())
        };
        let owned = |text: &str| text.to_owned();
        assert_eq!(of(&["hello"], false).ok(), Some((owned("messages"), Some(owned("hello")))));
        assert_eq!(of(&["a", "hello"], false).ok(), Some((owned("a"), Some(owned("hello")))));
        assert_eq!(of(&["a"], true).ok(), Some((owned("a"), None)));
        assert_eq!(of(&[], true).ok(), Some((owned("messages"), None)));
        assert_eq!(of(&[], false), Err(Exit::Usage));
        assert_eq!(of(&["a", "b"], true), Err(Exit::Usage));
    }

    #[test]
    fn an_append_is_one_line() {
        let concern = |members: &[u8]| AppendConcern {
            requested: WriteConcern::All,
            reached: 2,
            members: members.to_vec(),
        };
        let reply = AppendReply {
            id: 7,
            message: Some("m".to_owned()),
            message_base64: None,
            sequence: 7,
            timestamp: "2023-11-14T22:13:20Z".parse().expect("a time"),
            hash: String::new(),
            log: "orders".to_owned(),
            concern: concern(&[0, 2]),
            committed: true,
            duration_ms: 1.25,
            warning: None,
        };
        assert_eq!(line(&reply), "orders 7: members 0, 2 have it, committed, 1.2 ms");
        let reply = AppendReply { concern: concern(&[1]), committed: false, ..reply };
        assert_eq!(line(&reply), "orders 7: member 1 has it, not committed yet, 1.2 ms");
        let reply = AppendReply { concern: concern(&[]), ..reply };
        assert_eq!(line(&reply), "orders 7: 2 members have it, not committed yet, 1.2 ms");
    }
}
