//! `holdfast files get`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdfast_client::Files;

use super::progress::Progress;
use super::{block_on, client, of_client};
use crate::arguments::FilesGet;
use crate::exit::{Exit, Failure};

/// How often a download goes on after a member broke off.
const TRIES_MAX: u32 = 20;

pub(super) fn run(get: &FilesGet) -> Result<Exit, Failure> {
    let client = client(&get.reach)?;
    // The last part of a name is a file here; the rest would be folders that nobody asked for.
    let target = match &get.to {
        Some(to) => to.clone(),
        None => match get.name.rsplit('/').next().filter(|last| !matches!(*last, "" | "." | "..")) {
            Some(last) if !last.contains('\0') => PathBuf::from(last),
            _ => return Err(Failure::usage("the file's name is none for a file here; give one by --to")),
        },
    };
    if target == Path::new("-") {
        block_on(fetch(&client, &get.name, &mut io::stdout().lock()))?;
        return Ok(Exit::Ok);
    }
    let mut part = target.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let fail =
        |what: &str, error: io::Error| Failure::general(format!("cannot {what} {}: {error}", part.display()));
    let mut file = File::create(&part).map_err(|error| fail("create", error))?;
    let fetched = block_on(fetch(&client, &get.name, &mut file));
    if fetched.is_err() {
        let _ = fs::remove_file(&part);
    }
    fetched?;
    file.sync_all().map_err(|error| fail("flush", error))?;
    fs::rename(&part, &target).map_err(|error| fail("rename", error))?;
    crate::remark(&format!("wrote {}", target.display()));
    Ok(Exit::Ok)
}

/// Download a file to its end, through as many members as that takes.
async fn fetch(client: &Files, name: &str, out: &mut impl Write) -> Result<(), Failure> {
    let mut tag: Option<String> = None;
    let (mut done, mut tries) = (0, 0);
    let mut progress = None;
    loop {
        let mut download = client.get(name, done, tag.as_deref()).await.map_err(of_client)?;
        if download.from != done || tag.as_ref().is_some_and(|tag| *tag != download.tag) {
            return Err(Failure::general(format!(
                "{name:?} was replaced while it was downloaded; try again"
            )));
        }
        let progress = progress.get_or_insert_with(|| Progress::new(name, Some(download.size)));
        let broken = loop {
            match download.next().await {
                Ok(Some(piece)) => {
                    out.write_all(&piece)
                        .map_err(|error| Failure::general(format!("cannot write: {error}")))?;
                    done += piece.len() as u64;
                    progress.at(done);
                }
                Ok(None) => break "it ended early".to_owned(),
                Err(why) => break why,
            }
        };
        if done == download.size {
            return Ok(());
        }
        tries += 1;
        if tries >= TRIES_MAX {
            return Err(Failure::general(format!(
                "{name:?} broke off {tries} times, at last after {done} bytes: {broken}"
            )));
        }
        tag = Some(download.tag);
    }
}
