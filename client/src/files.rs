//! [`Files`]: uploads and downloads of any length, through whichever member answers.
//!
//! An upload is sent again from its beginning to the next member when one breaks off: putting the same bytes under the same
//! name twice is the same as once. A download goes on at the next member where the last one stopped. What it refuses to do:
//! hold a file in memory, or take the rest of another version for the rest of this one.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use holdfast_api::http::files::{FileDeleted, FileList, QueueReply, UploadReply};
use holdfast_api::http::{Problem, ProblemCode};
use http::{StatusCode, header};
use reqwest::{Body, RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;

use crate::endpoints::{EndpointError, Endpoints};
use crate::error::{Error, Tried};
use crate::transport::{name, problem, whole, words};

/// After so long without a byte a member is given up.
const STALL_MAX: Duration = Duration::from_secs(60);

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(2);

/// How often all members are asked before it is given up, and the pause between: about two elections.
const ROUNDS_MAX: u32 = 12;
const PAUSE: Duration = Duration::from_millis(250);

/// How an upload is to be done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// On how many members; `None` for all.
    pub replicas: Option<u8>,
    /// How many must have it before it is acknowledged; `None` for the store's own concern.
    pub concern: Option<holdfast_api::WriteConcern>,
    /// Only if there is no such file.
    pub if_absent: bool,
}

/// What comes of a file.
#[derive(Debug)]
pub struct Download {
    /// How long all of it is.
    pub size: u64,
    /// Its entity tag: the same for the same bytes.
    pub tag: String,
    /// The byte that the first piece begins with.
    pub from: u64,
    response: Response,
}

/// Files of a store. Cheap to make, cheaper to keep.
#[derive(Debug)]
pub struct Files {
    http: reqwest::Client,
    endpoints: Endpoints,
}

impl Files {
    /// The store whose members are at these addresses. Does not connect yet.
    ///
    /// # Errors
    /// An address is none.
    pub fn new<S: AsRef<str>>(endpoints: impl IntoIterator<Item = S>) -> Result<Files, EndpointError> {
        let http = reqwest::Client::builder().no_proxy().tcp_nodelay(true);
        let http = http.connect_timeout(CONNECT_TIME_MAX).read_timeout(STALL_MAX).build();
        let http = http.expect("a client without any file or certificate");
        Ok(Files { http, endpoints: Endpoints::parse(endpoints)? })
    }

    /// Upload a file. `open` gives its bytes from the beginning, and how many they are if that is known; it is asked again
    /// for every further try. What gives them only once refuses the second time.
    ///
    /// # Errors
    /// [`Error::Refused`] by a member, or by `open`; else what came of the tries.
    pub async fn put<S>(
        &self,
        file: &str,
        options: PutOptions,
        mut open: impl FnMut() -> io::Result<(S, Option<u64>)>,
    ) -> Result<UploadReply, Error>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let mut query = Vec::new();
        query.extend(options.replicas.map(|replicas| ("replicas", replicas.to_string())));
        query.extend(options.concern.map(|concern| ("w", concern.to_string())));
        let path = ["files", file];
        let answered = self.ask(&path, &query, |url| {
            let (bytes, size) = open().map_err(|error| {
                Error::refused(ProblemCode::BadRequest, format!("the bytes cannot be read: {error}"))
            })?;
            let request = self.http.put(url).body(Body::wrap_stream(bytes));
            let request =
                size.iter().fold(request, |request, size| request.header(header::CONTENT_LENGTH, *size));
            Ok(if options.if_absent { request.header(header::IF_NONE_MATCH, "*") } else { request })
        });
        let (place, response) = answered.await?;
        self.read(place, response).await
    }

    /// Begin to download a file from the byte `from` on; with a `tag`, only if it is still the same. Without, or if it is
    /// another by now, from its beginning.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such file; else what came of the tries.
    pub async fn get(&self, file: &str, from: u64, tag: Option<&str>) -> Result<Download, Error> {
        let path = ["files", file];
        let answered = self.ask(&path, &[], |url| {
            let request = self.http.get(url);
            Ok(match tag {
                Some(tag) if from > 0 => {
                    request.header(header::RANGE, format!("bytes={from}-")).header(header::IF_RANGE, tag)
                }
                _ => request,
            })
        });
        let (place, response) = answered.await?;
        let text = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let part = response.status() == StatusCode::PARTIAL_CONTENT;
        let size = match text(header::CONTENT_RANGE).filter(|_| part) {
            Some(range) => range.rsplit_once('/').and_then(|(_, size)| size.parse().ok()),
            None => text(header::CONTENT_LENGTH).and_then(|length| length.parse().ok()),
        };
        let tag = text(header::ETAG).map(str::to_owned);
        let (Some(size), Some(tag)) = (size, tag) else {
            let detail = "a file without length or tag".to_owned();
            return Err(Error::Protocol { endpoint: self.endpoint(place), detail });
        };
        Ok(Download { size, tag, from: if part { from } else { 0 }, response })
    }

    /// A page of files, the newest first; the page before says where it begins.
    ///
    /// # Errors
    /// What came of the tries.
    pub async fn list(&self, limit: u64, cursor: Option<&str>) -> Result<FileList, Error> {
        let mut query = vec![("limit", limit.to_string())];
        query.extend(cursor.map(|cursor| ("cursor", cursor.to_owned())));
        let (place, response) = self.ask(&["files"], &query, |url| Ok(self.http.get(url))).await?;
        self.read(place, response).await
    }

    /// Delete a file. Deleting what is not there is no error.
    ///
    /// # Errors
    /// What came of the tries.
    pub async fn remove(&self, file: &str) -> Result<FileDeleted, Error> {
        let path = ["files", file];
        let (place, response) = self.ask(&path, &[], |url| Ok(self.http.delete(url))).await?;
        self.read(place, response).await
    }

    /// Missing copies, the newest first.
    ///
    /// # Errors
    /// What came of the tries.
    pub async fn queue(&self, status: Option<&str>) -> Result<QueueReply, Error> {
        let query: Vec<_> = status.map(|status| ("status", status.to_owned())).into_iter().collect();
        let path = ["replication-queue"];
        let (place, response) = self.ask(&path, &query, |url| Ok(self.http.get(url))).await?;
        self.read(place, response).await
    }

    /// The first answer that is one, from whichever member; every request here may be sent again.
    async fn ask(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        mut request: impl FnMut(Url) -> Result<RequestBuilder, Error>,
    ) -> Result<(usize, Response), Error> {
        let mut tried: Vec<Tried> = Vec::new();
        let mut refusal = None;
        for round in 0..ROUNDS_MAX {
            if round > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            tried.clear();
            for place in self.endpoints.order() {
                let why = match request(self.url(place, path, query)?)?.send().await {
                    Ok(response) if response.status().is_success() => {
                        self.endpoints.prefer(place);
                        return Ok((place, response));
                    }
                    Ok(response) => match self.refused(place, response).await? {
                        Ok(problem) => {
                            let why = problem.detail.clone();
                            refusal = Some(problem);
                            why
                        }
                        Err(why) => why,
                    },
                    Err(error) => words(&error),
                };
                tried.push(Tried { endpoint: self.endpoint(place), why, silent: false });
            }
        }
        Err(refusal.map_or(Error::Unreachable { tried }, Error::Refused))
    }

    /// A path whose parts are data.
    fn url(&self, place: usize, path: &[&str], query: &[(&str, String)]) -> Result<Url, Error> {
        if path.iter().any(|part| matches!(*part, "." | "..")) {
            // What is between here and a member would fold them away.
            let detail = "a file cannot be called \".\" or \"..\" here: no path can say so";
            return Err(Error::refused(ProblemCode::InvalidKey, detail));
        }
        let mut url = self.endpoints.url(place).clone();
        if let Ok(mut parts) = url.path_segments_mut() {
            parts.pop_if_empty().extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    /// What a refusal says: it may pass, or it is the answer.
    async fn refused(
        &self,
        place: usize,
        mut response: Response,
    ) -> Result<Result<Box<Problem>, String>, Error> {
        let (status, headers) = (response.status(), response.headers().clone());
        let body = match whole(&mut response).await {
            Ok(body) => body,
            Err(why) => return Ok(Err(why)),
        };
        match problem(&headers, &body) {
            Some(problem) if problem.retryable || problem.code == ProblemCode::OutcomeUnknown => {
                Ok(Ok(Box::new(problem)))
            }
            Some(problem) => Err(Error::Refused(Box::new(problem))),
            None if status.is_server_error() => Ok(Err(format!("HTTP status {status}"))),
            None => {
                let detail = format!("HTTP status {status} without the reason that a member gives");
                Err(Error::Protocol { endpoint: self.endpoint(place), detail })
            }
        }
    }

    async fn read<T: DeserializeOwned>(&self, place: usize, mut response: Response) -> Result<T, Error> {
        let endpoint = || self.endpoint(place);
        let body = whole(&mut response).await;
        let body = body
            .map_err(|detail| Error::Unknown { detail: format!("{}: {detail}", endpoint()), attempts: 1 })?;
        serde_json::from_slice(&body)
            .map_err(|error| Error::Protocol { endpoint: endpoint(), detail: error.to_string() })
    }

    fn endpoint(&self, place: usize) -> String {
        name(self.endpoints.url(place))
    }
}

impl Download {
    /// The next bytes; `None` after the last.
    ///
    /// # Errors
    /// The member broke off: go on with [`Files::get`] from where it stopped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, String> {
        self.response.chunk().await.map_err(|error| words(&error))
    }
}
