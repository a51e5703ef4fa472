//! The way around warp's filters: for files, whose bodies are streams without an end in sight, for the dashboard, and for the routes of one
//! key and of message logs, which are asked a hundred times as often as all others:
//! matching filters, and copying the head for each that is tried, took longer than the request itself.
//!
//! It refuses to look at anything but the path: that route and method exist, [`Front`](super::service::Front) has seen.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use http::Request;
use hyper::body::Incoming;
use tower::Service;
use warp::reply::Response;

use super::{Context, dashboard, files, key, logs};

/// The routes of keys, files, logs and the dashboard, and warp's service of all others.
#[derive(Clone, Debug)]
pub(super) struct Direct<S> {
    pub(super) context: Context,
    pub(super) filters: S,
}

impl<S> Service<Request<Incoming>> for Direct<S>
where
    S: Service<Request<Incoming>, Response = Response, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, task: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        self.filters.poll_ready(task)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let path = request.uri().path();
        let context = self.context.clone();
        if path.starts_with(key::PREFIX) {
            Box::pin(async move { Ok(key::serve(&context, request).await) })
        } else if files::takes(path) {
            Box::pin(async move { Ok(files::serve(&context, request).await) })
        } else if logs::are_meant(path) {
            Box::pin(async move { Ok(logs::serve(&context, request).await) })
        } else if dashboard::is_meant(path) {
            Box::pin(async move { Ok(dashboard::serve(&context, request).await) })
        } else {
            Box::pin(self.filters.call(request))
        }
    }
}
