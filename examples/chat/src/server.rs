//! One server: the gRPC port, and the packet port if there is one, in front of the member beside it.
//!
//! Refuses to serve more connections than it has room for, and to outlive whoever asked for a lifeline.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use holdfast_client::Client;
use http::header::CONTENT_TYPE;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{sleep, timeout};
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::service_fn;

use crate::limits::{
    CALLS_MAX, CONNECTIONS_MAX, END_WAIT, FIRST_BYTE_WAIT, HEADER_BYTES_MAX, KEEP_ALIVE_INTERVAL,
    KEEP_ALIVE_WAIT, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, STORE_WAIT,
};
use crate::messages::path;
use crate::packets;
use crate::push::Hub;
use crate::service::Service;
use crate::state::State;

/// What a server is told.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where gRPC clients reach it.
    pub listen: SocketAddr,
    /// Where clients of the packet protocol reach it, if they do.
    pub packets: Option<SocketAddr>,
    /// The client address of the member beside it, such as `http://127.0.0.1:7400`.
    pub store: String,
    /// Whether a request must show a session, instead of a username alone.
    pub sessions_required: bool,
}

/// Why a server cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// An address cannot be used.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The member's address is none.
    #[error("the store's address {store:?} cannot be used: {detail}")]
    Store {
        /// What was given.
        store: String,
        /// What is wrong.
        detail: String,
    },
}

/// Serves until `end`. Call inside a runtime.
///
/// # Errors
/// An address cannot be used; nothing was served then.
pub async fn serve(options: &Options, end: impl Future<Output = ()>) -> Result<(), ServerError> {
    let client = Client::new([&options.store])
        .map_err(|error| ServerError::Store { store: options.store.clone(), detail: error.to_string() })?
        .with_deadline(STORE_WAIT);
    let listener = listen(options.listen).await?;
    let packets_listener = match options.packets {
        Some(address) => Some(listen(address).await?),
        None => None,
    };
    let hub = Hub::start(&client);
    let state = Arc::new(State::new(client));
    tokio::spawn({
        let state = state.clone();
        async move { state.keep_few_numbers().await }
    });
    let (ending, ended) = watch::channel(false);
    if let Some(listener) = packets_listener {
        tokio::spawn(packets::serve(listener, state.clone(), hub.clone(), ended.clone()));
    }
    let service = Arc::new(Service { state, hub: hub.clone(), sessions_required: options.sessions_required });
    tracing::info!(listen = %options.listen, packets = ?options.packets, store = options.store, "the chat is served");
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut end = pin!(end);
    loop {
        let accepted = tokio::select! {
            () = &mut end => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: let others finish.
            sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        // Beyond the limit a connection is closed at once, so that its client goes to another server.
        let Ok(slot) = slots.clone().try_acquire_owned() else { continue };
        let (service, ended) = (service.clone(), ended.clone());
        tokio::spawn(async move {
            carry(stream, service, ended).await;
            drop(slot);
        });
    }
    ending.send_replace(true);
    hub.end_all();
    // Those that are under way have all slots but the free ones.
    let _ = timeout(END_WAIT, slots.acquire_many(CONNECTIONS_MAX as u32)).await;
    Ok(())
}

async fn listen(address: SocketAddr) -> Result<TcpListener, ServerError> {
    TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })
}

async fn carry(stream: TcpStream, service: Arc<Service>, mut ended: watch::Receiver<bool>) {
    // A socket that refuses is broken, which shows soon.
    let _ = stream.set_nodelay(true);
    if !matches!(timeout(FIRST_BYTE_WAIT, stream.peek(&mut [0])).await, Ok(Ok(1))) {
        return;
    }
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_WAIT)
        .max_concurrent_streams(CALLS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX);
    let answer = hyper::service::service_fn(move |request| {
        let service = service.clone();
        async move { Ok::<_, Infallible>(call(service, request).await) }
    });
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        _ = &mut connection => return,
        _ = ended.wait_for(|ended| *ended) => connection.as_mut().graceful_shutdown(),
    }
    // What is under way is finished; how the connection ended concerns nobody.
    let _ = timeout(END_WAIT, connection).await;
}

/// One call of the contract.
macro_rules! unary {
    ($service:ident, $request:ident, $method:ident) => {{
        let method = service_fn(move |request| {
            let service = $service.clone();
            async move { service.$method(request).await }
        });
        Grpc::new(ProstCodec::default())
            .apply_max_message_size_config(Some(REQUEST_BYTES_MAX), Some(REPLY_BYTES_MAX))
            .unary(method, $request)
            .await
    }};
}

async fn call(service: Arc<Service>, request: http::Request<Incoming>) -> http::Response<Body> {
    match request.uri().path() {
        path::LOGIN => unary!(service, request, login),
        path::CREATE_ACCOUNT => unary!(service, request, create_account),
        path::CHECK_USERNAME => unary!(service, request, check_username),
        path::LIST_ACCOUNTS => unary!(service, request, list_accounts),
        path::SEND_MESSAGE => unary!(service, request, send_message),
        path::READ_MESSAGES => unary!(service, request, read_messages),
        path::DELETE_MESSAGE => unary!(service, request, delete_message),
        path::DELETE_ACCOUNT => unary!(service, request, delete_account),
        path::LOGOUT => unary!(service, request, logout),
        path::SUBSCRIBE => {
            let method = service_fn(move |request| {
                let service = service.clone();
                async move { service.subscribe(request).await }
            });
            Grpc::new(ProstCodec::default())
                .apply_max_message_size_config(Some(REQUEST_BYTES_MAX), Some(REPLY_BYTES_MAX))
                .server_streaming(method, request)
                .await
        }
        _ => {
            let mut response = http::Response::new(Body::empty());
            let headers = response.headers_mut();
            headers.insert("grpc-status", (tonic::Code::Unimplemented as i32).into());
            headers.insert(CONTENT_TYPE, tonic::metadata::GRPC_CONTENT_TYPE);
            response
        }
    }
}
