//! A gRPC client as there were before: no session, no metadata, one server, every reply taken as it is.

use anyhow::Context as _;
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::{Request, Streaming};
use tonic_prost::ProstCodec;

/// A client of one server.
#[derive(Clone, Debug)]
pub struct OlderClient {
    grpc: Grpc<Client<HttpConnector, Body>>,
}

impl OlderClient {
    /// Of the server at `ADDRESS:PORT`. Call inside a runtime.
    ///
    /// # Errors
    ///
    /// If that is no address.
    pub fn new(server: &str) -> anyhow::Result<OlderClient> {
        let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
        let origin = format!("http://{server}").parse().context("no address")?;
        Ok(OlderClient { grpc: Grpc::with_origin(http, origin) })
    }

    /// One call.
    ///
    /// # Errors
    ///
    /// If it ends with a gRPC status other than OK.
    pub async fn call<M, R>(&mut self, method: &'static str, message: M) -> Result<R, tonic::Status>
    where
        M: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        let method = PathAndQuery::from_static(method);
        let response = self.grpc.unary(Request::new(message), method, ProstCodec::<M, R>::default()).await?;
        Ok(response.into_inner())
    }

    /// One call that is answered by many messages.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn stream<M, R>(
        &mut self,
        method: &'static str,
        message: M,
    ) -> Result<Streaming<R>, tonic::Status>
    where
        M: prost::Message + 'static,
        R: prost::Message + Default + 'static,
    {
        let method = PathAndQuery::from_static(method);
        let codec = ProstCodec::<M, R>::default();
        Ok(self.grpc.server_streaming(Request::new(message), method, codec).await?.into_inner())
    }
}
