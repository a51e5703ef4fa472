//! [`Admin`]: one member's admin port. Refuses to choose a member: these orders are for the one that is named.

use std::time::Duration;

use holdfast_api::http::{
    CheckpointReply, FaultsRequest, FaultsStatus, ForceStartReply, TransferReply, VersionReply, query,
};
use http::{Method, StatusCode};
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use crate::client::{DEADLINE_DEFAULT, http_client};
use crate::endpoints::{EndpointError, Endpoints};
use crate::error::{Error, Tried};
use crate::request::{Effect, Request};
use crate::transport::{Transport, whole, words};

/// One member's admin port. Cheap to make, cheaper to keep.
#[derive(Debug)]
pub struct Admin {
    transport: Transport,
    deadline: Duration,
}

/// Whether a member is ready, and what it says about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// It serves.
    pub ready: bool,
    /// Its checks, a line each, as it words them.
    pub checks: String,
}

impl Admin {
    /// The member whose admin port has this address, such as `http://127.0.0.1:7402`. Does not connect yet.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(endpoint: &str) -> Result<Admin, EndpointError> {
        let (http, deadline) = (http_client(), DEADLINE_DEFAULT);
        let transport = Transport { http, endpoints: Endpoints::parse([endpoint])?, attempt: deadline };
        Ok(Admin { transport, deadline })
    }

    /// The same with another bound on every call.
    pub fn with_deadline(mut self, deadline: Duration) -> Admin {
        self.deadline = deadline;
        self
    }

    /// Whether the member is ready. Asks once, and does not wait until it is.
    ///
    /// # Errors
    /// [`Error::Unreachable`] if it does not answer, [`Error::Protocol`] if it answers something else.
    pub async fn ready(&self) -> Result<Readiness, Error> {
        let request = Request::new(Method::GET, "/readyz", Effect::Reads).with_query("verbose", "");
        let exchange = async {
            let mut response =
                self.transport.send(0, &request, self.deadline).await.map_err(|error| words(&error))?;
            Ok((response.status(), whole(&mut response).await?))
        };
        let unreachable = |why, silent| {
            let tried = vec![Tried { endpoint: self.transport.name(0), why, silent }];
            Err(Error::Unreachable { tried })
        };
        let (status, body) = match tokio::time::timeout(self.deadline, exchange).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(why)) => return unreachable(why, false),
            Err(_) => return unreachable(format!("no answer within {} ms", self.deadline.as_millis()), true),
        };
        let checks = String::from_utf8_lossy(&body).into_owned();
        match status {
            StatusCode::OK => Ok(Readiness { ready: true, checks }),
            StatusCode::SERVICE_UNAVAILABLE => Ok(Readiness { ready: false, checks }),
            other => Err(Error::Protocol {
                endpoint: self.transport.name(0),
                detail: format!("HTTP status {other} from /readyz"),
            }),
        }
    }

    /// What runs there.
    ///
    /// # Errors
    /// As [`Admin::ready`].
    pub async fn version(&self) -> Result<VersionReply, Error> {
        self.call(&Request::new(Method::GET, "/version", Effect::Reads)).await
    }

    /// The member's metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// As [`Admin::ready`].
    pub async fn metrics(&self) -> Result<String, Error> {
        let request = Request::new(Method::GET, "/metrics", Effect::Reads);
        let answer = self.transport.call(&request, Instant::now() + self.deadline).await?;
        Ok(String::from_utf8_lossy(&answer.body).into_owned())
    }

    /// Take a checkpoint now, and wait until it is durable.
    ///
    /// # Errors
    /// [`Error::Refused`] if it could not be taken; [`Error::Unknown`] if the deadline was too short for it.
    pub async fn checkpoint(&self) -> Result<CheckpointReply, Error> {
        self.call(&Request::new(Method::POST, "/v1/checkpoint", Effect::Writes)).await
    }

    /// Hand leadership over to the member `to`, or to the one that has most of the log. Any member takes the request.
    ///
    /// # Errors
    /// [`Error::Refused`] if there is no such member, nobody leads, or nobody took over; [`Error::Unknown`].
    pub async fn transfer(&self, to: Option<u8>) -> Result<TransferReply, Error> {
        let request = Request::new(Method::POST, "/v1/leadership/transfer", Effect::Writes).timing_out();
        let request = match to {
            Some(to) => request.with_query(query::TO, to),
            None => request,
        };
        self.call(&request).await
    }

    /// Start from this member, although it may have lost writes, if its store is in `epoch`.
    ///
    /// # Errors
    /// [`Error::Refused`] if somebody leads, the store is in another epoch, or no authority decides in it;
    /// [`Error::Unknown`] if the authority does not answer.
    pub async fn force_start(&self, epoch: u64) -> Result<ForceStartReply, Error> {
        let request = Request::new(Method::POST, "/v1/authority/force-start", Effect::WritesOnce);
        self.call(&request.with_query(query::EPOCH, epoch)).await
    }

    /// The faults that it has on purpose.
    ///
    /// # Errors
    /// [`Error::Refused`] if it may have none.
    pub async fn faults(&self) -> Result<FaultsStatus, Error> {
        self.call(&Request::new(Method::GET, "/v1/faults", Effect::Reads)).await
    }

    /// Let it have other faults on purpose, and say which it has then. What the change leaves out stays.
    ///
    /// # Errors
    /// [`Error::Refused`] if it may have none.
    pub async fn change_faults(&self, change: &FaultsRequest) -> Result<FaultsStatus, Error> {
        let body = serde_json::to_vec(change).expect("strings and numbers can always be written");
        self.call(&Request::new(Method::PUT, "/v1/faults", Effect::WritesOnce).with_body(body)).await
    }

    async fn call<T: DeserializeOwned>(&self, request: &Request) -> Result<T, Error> {
        let answer = self.transport.call(request, Instant::now() + self.deadline).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Error::Protocol {
            endpoint: self.transport.name(answer.place),
            detail: error.to_string(),
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_api::http::ProblemCode;

    use super::*;
    use crate::scripted::{Server, Step, nobody};

    async fn admin(step: Step) -> (Server, Admin) {
        let server = Server::start([step]).await;
        let admin = Admin::new(&server.endpoint).expect("an address");
        (server, admin)
    }

    #[tokio::test]
    async fn not_ready_is_an_answer_and_silence_is_none() {
        for (status, ready) in [(200, true), (503, false)] {
            let (_server, admin) = admin(Step::Reply(status, Vec::new(), "checks".to_owned())).await;
            assert_eq!(
                admin.ready().await.expect("an answer"),
                Readiness { ready, checks: "checks".to_owned() }
            );
        }
        let (_server, admin) = admin(Step::Hang).await;
        let error = admin.with_deadline(Duration::from_millis(50)).ready().await.expect_err("silence");
        assert!(error.to_string().contains("no answer within 50 ms"), "{error}");
        let nobody = Admin::new(&nobody().await).expect("an address").ready().await.expect_err("nobody");
        assert!(matches!(nobody, Error::Unreachable { .. }), "{nobody}");
    }

    #[tokio::test]
    async fn orders_are_given_once() {
        let reply = r#"{"leader":2,"term":5}"#.to_owned();
        let (server, one) = admin(Step::Reply(200, Vec::new(), reply)).await;
        assert_eq!(one.transfer(Some(2)).await.expect("done").leader, 2);
        let target = &server.seen()[0].target;
        assert!(target.starts_with("/v1/leadership/transfer?to=2&timeout=4s7"), "{target}");
        let (server, one) = admin(Step::Close).await;
        assert!(matches!(one.transfer(None).await.expect_err("lost"), Error::Unknown { .. }));
        assert_eq!(server.seen().len(), 1);
        let (_server, one) = admin(Step::problem(ProblemCode::CheckpointFailed)).await;
        assert_eq!(one.checkpoint().await.expect_err("no").code(), Some(ProblemCode::CheckpointFailed));
    }
}
