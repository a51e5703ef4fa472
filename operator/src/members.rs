//! Asks the sidecars: each member by its pod's address, all at once, for no longer than a moment.
//!
//! It refuses to follow redirects or proxies, to read large answers, and to believe an answer of another store or
//! another member: addresses of pods are given to others after a restart.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use futures::future::join_all;
use holdfast_api::http::{ForceStartReply, Problem, Status, TransferReply, query};
use holdfast_api::names::{ADMIN_PORT, CLIENT_PORT};
use reqwest::{Client, Response, StatusCode};
use serde::de::DeserializeOwned;

/// How long a pod's address may take to accept a connection. Addresses of lost nodes never answer, so every reconcile of their store
/// waits this long.
const CONNECT_LIMIT: Duration = Duration::from_millis(500);

/// How long a member may take to answer. It answers from memory; a second means that it is stopped or starved.
const STATUS_LIMIT: Duration = Duration::from_secs(1);

/// How long a hand-over may take: the heir is caught up first, then an election takes place.
const TRANSFER_LIMIT: Duration = Duration::from_secs(10);

/// Longest answer that is read. A status of seven members has about 3 KiB.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Asks sidecars. A clone shares the connections.
#[derive(Clone, Debug)]
pub struct Sidecars {
    http: Client,
    ports: Ports,
}

/// Where sidecars listen; only tests have others than the product's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// For `/v1/status`.
    pub client: u16,
    /// For `/v1/leadership/transfer`.
    pub admin: u16,
}

impl Default for Ports {
    fn default() -> Ports {
        Ports { client: CLIENT_PORT, admin: ADMIN_PORT }
    }
}

/// Why a sidecar gave no usable answer. The texts go into logs and conditions.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The HTTP client could not be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
    /// No connection, no answer in time, or a broken one.
    #[error("it did not answer")]
    Transport(#[source] reqwest::Error),
    /// It answered something else than success.
    #[error("it answered {status}: {detail}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// The problem's detail, or nothing.
        detail: String,
    },
    /// More than [`ANSWER_BYTES_MAX`].
    #[error("its answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
    /// No JSON of the expected form.
    #[error("its answer makes no sense")]
    Malformed(#[source] serde_json::Error),
    /// Another member answers at the pod's address.
    #[error("member {member} of {store} answers there")]
    Stranger {
        /// The store that the answer is of.
        store: String,
        /// The ordinal that the answer is of.
        member: u8,
    },
}

impl Sidecars {
    /// A client for all stores.
    ///
    /// # Errors
    /// [`AskError::Client`], when the platform refuses something basic.
    pub fn new(ports: Ports) -> Result<Sidecars, AskError> {
        let http = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_LIMIT)
            .user_agent(concat!("holdfast-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(AskError::Client)?;
        Ok(Sidecars { http, ports })
    }

    /// Asks the members of `store` (`namespace/name`) at these addresses for their status, all at the same time.
    pub async fn ask(
        &self,
        store: &str,
        addresses: &BTreeMap<u8, IpAddr>,
    ) -> BTreeMap<u8, Result<Status, AskError>> {
        let asked = addresses
            .iter()
            .map(|(&ordinal, &address)| async move { (ordinal, self.status(store, ordinal, address).await) });
        join_all(asked).await.into_iter().collect()
    }

    async fn status(&self, store: &str, ordinal: u8, address: IpAddr) -> Result<Status, AskError> {
        let request = self.http.get(url(address, self.ports.client, "/v1/status")).timeout(STATUS_LIMIT);
        let status: Status = read(request.send().await.map_err(transport)?).await?;
        if status.store != store || status.member != ordinal {
            return Err(AskError::Stranger { store: status.store, member: status.member });
        }
        Ok(status)
    }

    /// Lets the leader at `address` hand over to the member `to`; returns when another member leads.
    ///
    /// # Errors
    /// When the member refuses, for example because it does not lead, or does not answer in time. Who leads then is unknown.
    pub async fn hand_over(&self, address: IpAddr, to: u8) -> Result<TransferReply, AskError> {
        let path = format!("/v1/leadership/transfer?{}={to}", query::TO);
        let request = self.http.post(url(address, self.ports.admin, &path)).timeout(TRANSFER_LIMIT);
        read(request.send().await.map_err(transport)?).await
    }

    /// Makes the member at `address` primary, although it may have lost writes, if the store is in `epoch`.
    ///
    /// # Errors
    /// When the member refuses, or does not answer in time. Whether it is primary is unknown then.
    pub async fn force_start(&self, address: IpAddr, epoch: u64) -> Result<ForceStartReply, AskError> {
        let path = format!("/v1/authority/force-start?{}={epoch}", query::EPOCH);
        let request = self.http.post(url(address, self.ports.admin, &path)).timeout(FORCE_LIMIT);
        read(request.send().await.map_err(transport)?).await
    }
}

/// How long a forced start may take: the member asks the API server a few times.
const FORCE_LIMIT: Duration = Duration::from_secs(10);

/// The address is known to whoever reads the error, and makes it longer than what it says.
fn transport(error: reqwest::Error) -> AskError {
    AskError::Transport(error.without_url())
}

fn url(address: IpAddr, port: u16, path: &str) -> String {
    format!("http://{}{path}", std::net::SocketAddr::new(address, port))
}

async fn read<T: DeserializeOwned>(mut response: Response) -> Result<T, AskError> {
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(transport)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(AskError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    if !status.is_success() {
        let detail = serde_json::from_slice::<Problem>(&body).map(|problem| problem.detail);
        return Err(AskError::Refused { status, detail: detail.unwrap_or_default() });
    }
    serde_json::from_slice(&body).map_err(AskError::Malformed)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn status(store: &str, member: u8) -> String {
        format!(
            r#"{{"store":"{store}","strategy":"Replication","member":{member},"incarnation":"00000000000000ab",
            "version":"0.1.0","role":"leader","leader":{member},"term":3,
            "positions":{{"written":9,"durable":9,"commit":8,"applied":9}},"revision":7,"peers":[]}}"#
        )
    }

    /// A member that answers every request with these bytes.
    async fn member(answer: String) -> Ports {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = [0; 4096];
                let _ = stream.read(&mut head).await;
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Ports { client: port, admin: port }
    }

    fn answer(code: &str, body: &str) -> String {
        format!("HTTP/1.1 {code}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
    }

    async fn ask(answer: String) -> Result<Status, AskError> {
        let sidecars = Sidecars::new(member(answer).await).unwrap();
        let mut answers = sidecars.ask("shop/orders", &[(0, HERE)].into()).await;
        answers.remove(&0).unwrap()
    }

    #[tokio::test]
    async fn a_status_is_taken_from_the_member_that_was_meant() {
        assert_eq!(ask(answer("200 OK", &status("shop/orders", 0))).await.unwrap().term, 3);
        for (store, member) in [("shop/orders", 1), ("shop/carts", 0)] {
            let answer = ask(answer("200 OK", &status(store, member))).await;
            assert!(matches!(answer, Err(AskError::Stranger { .. })), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn whatever_else_answers_is_an_error() {
        assert!(matches!(ask(answer("200 OK", "{}")).await, Err(AskError::Malformed(_))));
        assert!(matches!(ask(answer("503 Unavailable", "x")).await, Err(AskError::Refused { .. })));
        assert!(matches!(ask("SSH-2.0-x\r\n".into()).await, Err(AskError::Transport(_))));
        let large = " ".repeat(ANSWER_BYTES_MAX + 1);
        assert!(matches!(ask(answer("200 OK", &large)).await, Err(AskError::TooLarge)));
        let redirect = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        assert!(matches!(ask(redirect.into()).await, Err(AskError::Refused { .. })));
    }

    #[tokio::test]
    async fn nobody_there_is_an_error_within_the_limit() {
        let listener = TcpListener::bind((HERE, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // The connection is accepted by the kernel, and nobody ever answers.
        let sidecars = Sidecars::new(Ports { client: port, admin: port }).unwrap();
        let addresses = [(0, HERE)].into();
        let answers = tokio::time::timeout(Duration::from_secs(30), sidecars.ask("a/b", &addresses));
        let answers = answers.await.expect("an answer or an error in time");
        assert!(matches!(answers[&0], Err(AskError::Transport(_))));
    }

    #[tokio::test]
    async fn a_hand_over_says_who_leads_now() {
        let ports = member(answer("200 OK", r#"{"leader":2,"term":4}"#)).await;
        let reply = Sidecars::new(ports).unwrap().hand_over(HERE, 2).await.unwrap();
        assert_eq!((reply.leader, reply.term), (2, 4));
    }
}
