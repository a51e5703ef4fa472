//! `holdfast log follow`: messages as they are committed, until somebody has enough.

use std::io::{self, Write};

use holdfast_api::Span;
use holdfast_client::Followed;
use holdfast_client::reply::LogUndone;
use serde::Serialize;

use super::{block_on, client, line, of_client};
use crate::arguments::{LogFollow, Output};
use crate::exit::{Exit, Failure};
use crate::output::{settle, write_one};

/// How long members may be out of reach if nobody says.
const TIMEOUT: Span = Span::from_secs(5);

/// Messages that are undone, for programs.
#[derive(Serialize)]
struct Undone {
    undone: LogUndone,
}

pub(super) fn run(follow: &LogFollow) -> Result<Exit, Failure> {
    let log = client(&follow.reach, TIMEOUT)?.log(&follow.log);
    block_on(async {
        let mut messages =
            if follow.local { log.follow_locally(follow.from) } else { log.follow(follow.from) };
        let mut left = follow.count.unwrap_or(u64::MAX);
        while left > 0 {
            let followed = messages.next().await.map_err(of_client)?;
            left -= u64::from(matches!(followed, Followed::Message(_)));
            if !settle(write(follow.printed.output, &followed))? {
                break; // whoever reads has enough
            }
        }
        Ok(Exit::Ok)
    })
}

fn write(output: Output, followed: &Followed) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match followed {
        Followed::Message(message) => line::write(&mut out, output, message)?,
        &Followed::Undone { from } => {
            let line = || format!("-- what was shown from {from} on is undone: a failover dropped it");
            write_one(&mut out, output, &Undone { undone: LogUndone { from } }, line)?;
        }
    }
    out.flush()
}
