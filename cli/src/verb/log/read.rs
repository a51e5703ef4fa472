//! `holdfast log read`: page after page until the end, each message as it arrives.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use holdfast_api::Span;
use holdfast_client::Log;

use super::{block_on, client, line, of_client};
use crate::arguments::{LogConsistency, LogRead};
use crate::exit::{Exit, Failure};
use crate::output::settle;

/// How long one page may take if nobody says.
const TIMEOUT: Span = Span::from_secs(5);

/// Messages on a page: enough that the way there and back does not matter, few enough that the first are seen at once.
const PAGE: u64 = 1_000;

/// How often somebody who waits hears how far it is.
const PROGRESS_PAUSE: Duration = Duration::from_millis(500);

pub(super) fn run(read: &LogRead) -> Result<Exit, Failure> {
    let log = client(&read.reach, TIMEOUT)?.log(&read.log);
    let consistency = match read.consistency {
        LogConsistency::Local => holdfast_client::LogConsistency::Local,
        LogConsistency::Committed => holdfast_client::LogConsistency::Committed,
        LogConsistency::Linearizable => holdfast_client::LogConsistency::Linearizable,
    };
    block_on(pages(&log, read, consistency))?;
    Ok(Exit::Ok)
}

async fn pages(
    log: &Log,
    read: &LogRead,
    consistency: holdfast_client::LogConsistency,
) -> Result<(), Failure> {
    let mut progress = Progress::begin();
    let mut from = read.from;
    let mut left = read.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let page = log.read(from, Some(left.min(PAGE)), consistency).await.map_err(of_client)?;
        left -= page.messages.len() as u64;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let write = |out: &mut io::BufWriter<_>, message| line::write(out, read.printed.output, message);
        let written = page.messages.iter().try_for_each(|message| write(&mut out, message));
        if !settle(written.and_then(|()| out.flush()))? {
            break; // whoever reads has enough
        }
        if let Some(last) = page.messages.last() {
            progress.at(last.sequence, page.last);
        }
        match page.next {
            Some(next) => from = next,
            None => break,
        }
    }
    progress.end();
    Ok(())
}

/// How far a long read is, on a terminal's standard error, unless the messages go to the terminal themselves.
struct Progress {
    shown: Option<Instant>,
    began: Instant,
    wanted: bool,
}

impl Progress {
    fn begin() -> Progress {
        let wanted = io::stderr().is_terminal() && !io::stdout().is_terminal();
        Progress { shown: None, began: Instant::now(), wanted }
    }

    fn at(&mut self, sequence: u64, last: u64) {
        if self.wanted && self.shown.unwrap_or(self.began).elapsed() >= PROGRESS_PAUSE {
            self.shown = Some(Instant::now());
            // Without standard error there is nobody to tell.
            let _ = write!(io::stderr(), "\r{}", text(sequence, last));
        }
    }

    fn end(&self) {
        if self.shown.is_some() {
            let _ = writeln!(io::stderr());
        }
    }
}

fn text(sequence: u64, last: u64) -> String {
    let percent = (sequence * 100).checked_div(last).unwrap_or(100);
    format!("message {sequence} of {last} ({percent} %)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_said_in_messages() {
        assert_eq!(text(250, 1000), "message 250 of 1000 (25 %)");
        assert_eq!(text(0, 0), "message 0 of 0 (100 %)");
    }
}
