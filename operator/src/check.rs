//! A smoke test of an installation, for `helm test`: is the kind served, and is an operator ready? It changes nothing and needs no right
//! beyond what every service account has.

use std::io::Write;
use std::time::Duration;

use holdfast_api::names::{API_VERSION, PLURAL};
use kube::{Client, Config};
use tokio::time::Instant;

use crate::arguments::Check;
use crate::error::chain;

/// Between two attempts.
const EVERY: Duration = Duration::from_secs(1);

/// For one request.
const REQUEST_LIMIT: Duration = Duration::from_secs(3);

/// Why an installation is not sound.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// There is no way to an API server.
    #[error("cannot find out where the API server is")]
    Config(#[from] kube::config::InferConfigError),
    /// A client could not be made.
    #[error("cannot make a client for the API server")]
    Client(#[source] kube::Error),
    /// A client for the operator could not be made.
    #[error("cannot make a client for the operator")]
    Http(#[source] reqwest::Error),
    /// The result could not be written.
    #[error("cannot write the result")]
    Write(#[from] std::io::Error),
    /// Something was not as it should be until the time was up.
    #[error("after {seconds} s: {problem}")]
    Unsound {
        /// How long it was waited.
        seconds: u64,
        /// What was wrong the last time.
        problem: String,
    },
}

/// Checks until everything is well, and says so line by line.
///
/// # Errors
/// [`CheckError`], with the last thing that was wrong if the time is up.
pub async fn check(arguments: &Check, out: &mut impl Write) -> Result<(), CheckError> {
    let deadline = Instant::now() + Duration::from_secs(arguments.within);
    let mut config = Config::infer().await?;
    config.default_retry = false;
    let client = Client::try_from(config).map_err(CheckError::Client)?;
    let http =
        reqwest::Client::builder().no_proxy().timeout(REQUEST_LIMIT).build().map_err(CheckError::Http)?;

    until(deadline, arguments.within, || served(&client)).await?;
    writeln!(out, "ok: the API server serves {PLURAL} in {API_VERSION}")?;
    let url = format!("{}/readyz", arguments.operator.trim_end_matches('/'));
    until(deadline, arguments.within, || ready(&http, &url)).await?;
    writeln!(out, "ok: {url} answers")?;
    Ok(())
}

async fn until<F>(deadline: Instant, seconds: u64, mut attempt: impl FnMut() -> F) -> Result<(), CheckError>
where
    F: Future<Output = Result<(), String>>,
{
    loop {
        let outcome = tokio::time::timeout(REQUEST_LIMIT, attempt()).await;
        let problem = match outcome {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(problem)) => problem,
            Err(_) => format!("no answer within {} s", REQUEST_LIMIT.as_secs()),
        };
        if Instant::now() + EVERY >= deadline {
            return Err(CheckError::Unsound { seconds, problem });
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn served(client: &Client) -> Result<(), String> {
    let list = client.list_api_group_resources(API_VERSION).await.map_err(|error| chain(&error))?;
    let served = list.resources.iter().any(|resource| resource.name == PLURAL);
    served.then_some(()).ok_or_else(|| format!("the API server does not serve {PLURAL} in {API_VERSION}"))
}

async fn ready(http: &reqwest::Client, url: &str) -> Result<(), String> {
    let answer = http.get(url).send().await.map_err(|error| chain(&error))?;
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("{url} answers {status}")) }
}
