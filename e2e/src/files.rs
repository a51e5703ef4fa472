//! A client of files that retries nothing, and a look at the members' disks: what was stored can be spoilt there.

pub mod killing;

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use holdfast_api::http::files::{FileEntry, FileList, QueueReply, RecoverReply, UploadReply};
use reqwest::{Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::http::Http;
use crate::laptop::Laptop;

/// What became of an upload, as far as its sender can know.
#[derive(Debug)]
pub enum Upload {
    /// It is there.
    Acknowledged(Box<UploadReply>),
    /// It may be there, or not; the words say why that is not known, or why not.
    Otherwise(String),
}

/// What became of a download.
#[derive(Debug, PartialEq, Eq)]
pub enum Download {
    /// All of it.
    Whole(Bytes),
    /// There is no such file.
    Absent,
    /// Something else; every byte that came is in it.
    Broken {
        /// What came.
        bytes: Vec<u8>,
        /// Why there is no more.
        why: String,
    },
}

/// A name in a path: every byte that is not a letter or a digit is written in digits.
pub fn encoded(name: &str) -> String {
    name.bytes().fold(String::new(), |mut path, byte| {
        use std::fmt::Write;
        if byte.is_ascii_alphanumeric() {
            path.push(byte.into());
        } else {
            write!(path, "%{byte:02X}").expect("a string takes everything");
        }
        path
    })
}

/// `PUT /files/{name}` at the member `base`.
pub async fn put(http: &Http, base: &str, name: &str, bytes: impl Into<reqwest::Body>) -> Upload {
    let sent = http.raw().put(format!("{base}/files/{}", encoded(name))).body(bytes).send().await;
    match sent {
        Ok(response) if response.status().is_success() => match read(response).await {
            Ok(reply) => Upload::Acknowledged(Box::new(reply)),
            Err(error) => Upload::Otherwise(format!("{error:#}")),
        },
        Ok(response) => {
            let status = response.status();
            Upload::Otherwise(format!("{status}: {}", response.text().await.unwrap_or_default()))
        }
        Err(error) => Upload::Otherwise(format!("{error:?}")),
    }
}

/// As [`put`], and it must succeed.
///
/// # Errors
///
/// If it does not.
pub async fn must_put(
    http: &Http,
    base: &str,
    name: &str,
    bytes: impl Into<reqwest::Body>,
) -> anyhow::Result<UploadReply> {
    match put(http, base, name, bytes).await {
        Upload::Acknowledged(reply) => Ok(*reply),
        Upload::Otherwise(why) => bail!("{name:?} was not uploaded: {why}"),
    }
}

/// `POST /files` at the member `base`, as a browser sends a form.
///
/// # Errors
///
/// If it does not succeed.
pub async fn post(http: &Http, url: &str, file_name: &str, bytes: &[u8]) -> anyhow::Result<UploadReply> {
    let head = format!(
        "--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"{file_name}\"\r\n\
         content-type: application/octet-stream\r\n\r\n"
    );
    let form = [head.as_bytes(), bytes, b"\r\n--xyz--\r\n"].concat();
    let request = http.raw().post(url).header("content-type", "multipart/form-data; boundary=xyz").body(form);
    read(succeeded(request.send().await?).await?).await
}

/// `GET /files/{name}` at the member `base`.
pub async fn get(http: &Http, base: &str, name: &str) -> Download {
    let broken = |bytes, why: String| Download::Broken { bytes, why };
    let response = match http.raw().get(format!("{base}/files/{}", encoded(name))).send().await {
        Ok(response) => response,
        Err(error) => return broken(Vec::new(), format!("{error:?}")),
    };
    match response.status() {
        StatusCode::OK => {}
        StatusCode::NOT_FOUND => return Download::Absent,
        status => {
            return broken(Vec::new(), format!("{status}: {}", response.text().await.unwrap_or_default()));
        }
    }
    let mut bytes = Vec::new();
    let mut response = response;
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Download::Whole(bytes.into()),
            Err(error) => return broken(bytes, format!("{error:?}")),
        }
    }
}

/// `GET /files`: every page of it.
///
/// # Errors
///
/// If the member does not answer, or not with success.
pub async fn list(http: &Http, base: &str) -> anyhow::Result<Vec<FileEntry>> {
    let mut files = Vec::new();
    let mut cursor = String::new();
    loop {
        let page: FileList = json(http, &format!("{base}/files?limit=100{cursor}")).await?;
        files.extend(page.files);
        match page.cursor {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Ok(files),
        }
    }
}

/// `GET /replication-queue`.
///
/// # Errors
///
/// As for [`list`].
pub async fn queue(http: &Http, base: &str, query: &str) -> anyhow::Result<QueueReply> {
    json(http, &format!("{base}/replication-queue?limit=1000{query}")).await
}

/// `POST /nodes/{id}/recover`.
///
/// # Errors
///
/// As for [`list`].
pub async fn recover(http: &Http, base: &str, node: &str) -> anyhow::Result<RecoverReply> {
    read(succeeded(http.raw().post(format!("{base}/nodes/{node}/recover")).send().await?).await?).await
}

/// Any page in JSON.
///
/// # Errors
///
/// As for [`list`].
pub async fn json<T: DeserializeOwned>(http: &Http, url: &str) -> anyhow::Result<T> {
    read(succeeded(http.raw().get(url).send().await?).await?).await
}

/// Bytes that nobody can mistake for those of another seed.
pub fn content(seed: usize, length: usize) -> Bytes {
    let mut state = (seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes.into()
}

/// How long the file of a seed is: nothing, some bytes, several blocks, a few of some MiB.
pub fn length(seed: usize) -> usize {
    match seed % 10 {
        0 => 0,
        1..6 => 10 + seed * 37 % 5_000,
        6..9 => 100_000 + seed * 7919 % 300_000,
        _ => 2_000_000 + seed * 104_729 % 2_000_000,
    }
}

/// All of what was downloaded.
///
/// # Errors
///
/// If it is not all.
pub fn whole(download: Download) -> anyhow::Result<Bytes> {
    match download {
        Download::Whole(bytes) => Ok(bytes),
        other => bail!("not all of it came: {other:?}"),
    }
}

/// A member's folder of files.
pub fn folder(store: &Laptop, ordinal: u8) -> PathBuf {
    store.folder().join("data").join(store.store()).join(format!("member-{ordinal}/data/files"))
}

/// What a member has on its disk: the files in its folder of files.
///
/// # Errors
///
/// If its folder cannot be listed.
pub fn on_disk(store: &Laptop, ordinal: u8) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder(store, ordinal)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    Ok(found)
}

/// Flip one bit of a file where it lies; nobody sees it shorter meanwhile.
///
/// # Errors
///
/// If it cannot be read or written.
pub fn flip(path: &Path, place: usize) -> anyhow::Result<()> {
    let file = File::options().read(true).write(true).open(path)?;
    let length = file.metadata()?.len();
    ensure!(length > 0, "{} is empty", path.display());
    let (at, mut byte) = (place as u64 % length, [0]);
    file.read_exact_at(&mut byte, at)?;
    byte[0] ^= 1 << (place % 8);
    Ok(file.write_all_at(&byte, at)?)
}

async fn read<T: DeserializeOwned>(response: Response) -> anyhow::Result<T> {
    let body = response.bytes().await?;
    serde_json::from_slice(&body)
        .with_context(|| format!("not understood: {}", String::from_utf8_lossy(&body)))
}

async fn succeeded(response: Response) -> anyhow::Result<Response> {
    let (status, url) = (response.status(), response.url().clone());
    if !status.is_success() {
        bail!("{url} answered {status}: {}", response.text().await.unwrap_or_default());
    }
    Ok(response)
}
