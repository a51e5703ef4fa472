//! A client of a member's HTTP port that retries nothing and tells three outcomes of a write apart. It shares no code
//! with the product's own client, so that both would have to be wrong in the same way.

use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use holdfast_api::http::{KeyValue, ListReply, Status, WriteReply};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

/// How long a request may take. A member holds requests while there is no leader; whoever cuts a member off gets no
/// answer at all.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(10);

/// How long a connection may take.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(1);

/// Keys on one page of a list.
const PAGE: usize = 1000;

/// What became of a write, as far as its sender can know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done.
    Acknowledged {
        /// The store's revision that it made.
        revision: u64,
        /// The term in which it was done.
        term: u64,
    },
    /// It was not done and never will be.
    Refused(String),
    /// Nobody can say.
    Unknown(String),
}

/// The client.
#[derive(Clone, Debug)]
pub struct Http(reqwest::Client);

impl Default for Http {
    fn default() -> Http {
        let builder = reqwest::Client::builder().timeout(REQUEST_TIME_MAX).connect_timeout(CONNECT_TIME_MAX);
        Http(builder.no_proxy().tcp_nodelay(true).build().expect("a client without any file or certificate"))
    }
}

impl Http {
    /// Write `value` to `key` at the member `base`, such as `http://127.0.0.1:7400`.
    pub async fn put(&self, base: &str, key: &str, value: impl Into<reqwest::Body>) -> Outcome {
        let response = match self.0.put(format!("{base}/v1/kv/{key}")).body(value).send().await {
            Ok(response) => response,
            // Without a connection nothing was sent.
            Err(error) if error.is_connect() => return Outcome::Refused(describe(&error)),
            Err(error) => return Outcome::Unknown(describe(&error)),
        };
        let status = response.status();
        match response.bytes().await {
            Ok(body) => outcome(status, &body),
            Err(error) => Outcome::Unknown(describe(&error)),
        }
    }

    /// Read `key` linearizably at the member `base`: its value and revision, if it exists.
    ///
    /// # Errors
    ///
    /// If the member does not answer, or not with success.
    pub async fn get(&self, base: &str, key: &str) -> anyhow::Result<Option<(Bytes, u64)>> {
        let response = self.0.get(format!("{base}/v1/kv/{key}")).send().await?;
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let response = succeeded(response).await?;
        let tag = response.headers().get("etag").context("there is no ETag")?.to_str()?.to_owned();
        let revision = tag.trim_matches('"').parse().with_context(|| format!("{tag} is no revision"))?;
        Ok(Some((response.bytes().await?, revision)))
    }

    /// All keys that begin with `prefix`, read linearizably at the member `base`.
    ///
    /// # Errors
    ///
    /// If the member does not answer, or not with success.
    pub async fn list(&self, base: &str, prefix: &str) -> anyhow::Result<Vec<KeyValue>> {
        let mut items = Vec::new();
        let mut parameters = vec![("prefix", prefix.to_owned()), ("limit", PAGE.to_string())];
        loop {
            let url = Url::parse_with_params(&format!("{base}/v1/kv"), &parameters)?;
            let body = succeeded(self.0.get(url).send().await?).await?.bytes().await?;
            let page: ListReply = serde_json::from_slice(&body)?;
            items.extend(page.items);
            parameters.truncate(2);
            match page.cursor {
                Some(cursor) => parameters.push(("cursor", cursor)),
                None => return Ok(items),
            }
        }
    }

    /// What the member `base` says about itself.
    ///
    /// # Errors
    ///
    /// If it does not answer, or not with success.
    pub async fn status(&self, base: &str) -> anyhow::Result<Status> {
        let body = self.text(&format!("{base}/v1/status")).await?;
        serde_json::from_str(&body).with_context(|| format!("this is no status: {body}"))
    }

    /// Any page as text.
    ///
    /// # Errors
    ///
    /// If nobody answers, or not with success.
    pub async fn text(&self, url: &str) -> anyhow::Result<String> {
        Ok(succeeded(self.0.get(url).send().await?).await?.text().await?)
    }

    /// The answer to any request, whatever it is.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub async fn answer(&self, request: RequestBuilder) -> reqwest::Result<(StatusCode, String)> {
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }

    /// The client itself, for requests that have no method here.
    pub fn raw(&self) -> &reqwest::Client {
        &self.0
    }
}

/// The status of the member that leads, according to itself.
///
/// # Errors
///
/// If none of `bases` answers as a leader, or several do in the same term.
pub async fn leader(http: &Http, bases: &[String]) -> anyhow::Result<Status> {
    let mut leaders: Vec<Status> = Vec::new();
    let mut others = Vec::new();
    for base in bases {
        match http.status(base).await {
            Ok(status) if status.role.name() == "leader" => leaders.push(status),
            Ok(status) => others.push(format!("{base} is {} in term {}", status.role, status.term)),
            Err(error) => others.push(format!("{base}: {error:#}")),
        }
    }
    // One that was cut off may still believe that it leads in an earlier term.
    leaders.sort_by_key(|status| status.term);
    ensure!(leaders.windows(2).all(|pair| pair[0].term < pair[1].term), "two lead in one term: {leaders:?}");
    leaders.pop().with_context(|| format!("nobody leads: {}", others.join(", ")))
}

fn outcome(status: StatusCode, body: &[u8]) -> Outcome {
    let text = || format!("{status}: {}", String::from_utf8_lossy(body));
    if status.is_success() {
        return match serde_json::from_slice::<WriteReply>(body) {
            Ok(reply) => Outcome::Acknowledged { revision: reply.revision, term: reply.term },
            Err(error) => Outcome::Unknown(format!("{}: {error}", text())),
        };
    }
    let problem: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    // Only a member can say that nothing happened; a page without that word comes from somebody else.
    if problem["outcome"] == "refused" { Outcome::Refused(text()) } else { Outcome::Unknown(text()) }
}

async fn succeeded(response: Response) -> anyhow::Result<Response> {
    let (status, url) = (response.status(), response.url().clone());
    if !status.is_success() {
        bail!("{url} answered {status}: {}", response.text().await.unwrap_or_default());
    }
    Ok(response)
}

/// An error with its causes; reqwest's own text says only that there was one.
fn describe(error: &reqwest::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_outcomes_are_told_apart() {
        let done = br#"{"revision":4,"term":2,"index":9,"concern":{"requested":"majority","reached":2}}"#;
        assert_eq!(outcome(StatusCode::OK, done), Outcome::Acknowledged { revision: 4, term: 2 });
        let unknown = br#"{"outcome":"unknown"}"#;
        assert!(matches!(outcome(StatusCode::GATEWAY_TIMEOUT, unknown), Outcome::Unknown(_)));
        let refused = br#"{"outcome":"refused"}"#;
        assert!(matches!(outcome(StatusCode::SERVICE_UNAVAILABLE, refused), Outcome::Refused(_)));
        assert!(matches!(outcome(StatusCode::BAD_GATEWAY, b"<html>"), Outcome::Unknown(_)));
        assert!(matches!(outcome(StatusCode::OK, b"{}"), Outcome::Unknown(_)));
    }
}
