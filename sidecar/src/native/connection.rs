//! One client's connection: greet, then read requests for as long as the client is there.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use holdfast_engine::Ordinal;
use holdfast_wire::native::{
    ClientHello, Greeting, REQUEST_BYTES_MAX, Reply, Request, VERSION, VERSION_MIN, Welcome,
};
use holdfast_wire::{FrameError, GreetingError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::outbox::{IN_FLIGHT_MAX, Outbox};
use super::replies;
use super::requests::{Asked, Commands, Draft};
use super::stream::{ReadHalf, Stream};
use crate::core::{Failure, Handle};
use crate::ending::Ending;
use crate::problem::Problem;
use crate::running::Running;

/// Bytes that are read in one go: some two hundred small requests.
const READ_BYTES: usize = 64 * 1024;

/// Requests that came together beyond which their memory is given back: few clients have more under way.
const DRAFTS_KEPT: usize = 64;

/// A request larger than this needs room in the memory that is set aside for large ones.
const LARGE_BYTES: usize = 256 * 1024;

/// Bytes of large requests that may be arriving at one time, over all connections: thirty of the largest.
const LARGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long the rest of a request may take to arrive: the largest one at 64 KiB/s, with room.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(40);

/// How long what was asked may take to be answered after a client has said its last: as long as a request may wait.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(60);

/// How long a greeting may take to find out who leads.
const HINT_TIME_MAX: Duration = Duration::from_millis(100);

/// What connections need besides their sockets.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    running: Running,
    large: Arc<Semaphore>,
}

/// Why a connection ended.
#[derive(Debug)]
enum Ended {
    /// By the client.
    Closed,
    Broken(io::Error),
    Malformed(FrameError),
    /// What the client greeted with.
    Greeting(GreetingError),
    /// The client's and our versions do not overlap.
    Version,
    /// A request was begun and not finished.
    Slow,
    /// The client did not read its answers.
    Unread,
}

impl Context {
    pub(crate) fn new(running: Running) -> Context {
        Context { running, large: Arc::new(Semaphore::new(LARGE_BYTES_MAX)) }
    }
}

/// Serve a connection whose first bytes are in `read`. Once the end has come no more is read, and this returns when
/// everything that was asked is answered.
///
/// It is served on the core's thread: what is asked and what is answered wakes nobody else.
pub(crate) async fn serve(stream: Stream, read: BytesMut, context: Context, ending: Ending) {
    let Ok(handle) = context.running.handle().cloned() else {
        return tracing::debug!("a client's connection ended: this member has not started yet");
    };
    let Ok(stream) = stream.into_std() else { return };
    let on_core = handle.runtime().clone();
    let serve = async move {
        if let Ok(stream) = stream.attach() {
            serve_here(stream, read, context, handle, ending).await;
        }
    };
    // Its task ends with this one.
    let mut serving = JoinSet::new();
    serving.spawn_on(serve, &on_core);
    // An error means that the core has ended, and the connection with it.
    let _ = serving.join_next().await;
}

async fn serve_here(stream: Stream, read: BytesMut, context: Context, handle: Handle, mut ending: Ending) {
    let (stream, write) = stream.split();
    let outbox = Arc::new(Outbox::new(write));
    let closing = CloseOnDrop(outbox.clone());
    let mut reader = Reader { stream, outbox: outbox.clone(), context, handle, read, drafts: Vec::new() };
    let ended = tokio::select! {
        ended = reader.run() => ended.err(),
        () = outbox.write_left_over() => Some(Ended::Unread),
        _ = ending.begun() => None,
    };
    if let Some(ended) = &ended {
        tracing::debug!(reason = %ended, "a client's connection ended");
    }
    // A client that asks no more may still read.
    if matches!(ended, None | Some(Ended::Closed | Ended::Malformed(_))) {
        let answered = async {
            tokio::select! {
                () = outbox.idle() => {}
                () = outbox.write_left_over() => {}
            }
        };
        let _ = timeout(LAST_WORDS_TIME_MAX, answered).await;
    }
    drop(closing);
}

/// However the connection's task ends, what is answered afterwards goes nowhere.
struct CloseOnDrop(Arc<Outbox>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The way in.
struct Reader {
    stream: ReadHalf,
    outbox: Arc<Outbox>,
    context: Context,
    handle: Handle,
    read: BytesMut,
    /// Empty: memory for the next requests.
    drafts: Vec<(u64, usize, Draft)>,
}

impl Reader {
    async fn run(&mut self) -> Result<Infallible, Ended> {
        let greeted = timeout(REQUEST_TIME_MAX, self.greet()).await;
        greeted.map_err(|_| Ended::Slow)??;
        loop {
            self.take_requests()?;
            self.outbox.has_room().await;
            match self.missing() {
                None => self.more().await?,
                Some(bytes) => {
                    let whole = timeout(REQUEST_TIME_MAX, self.until_whole(bytes)).await;
                    whole.map_err(|_| Ended::Slow)??;
                }
            }
        }
    }

    /// Answer the client's greeting.
    async fn greet(&mut self) -> Result<(), Ended> {
        let hello = loop {
            match ClientHello::decode(&mut self.read).map_err(Ended::Greeting)? {
                Some(hello) => break hello,
                None => self.more().await?,
            }
        };
        let greeting = match hello.common_version() {
            Some(version) => Greeting::Welcome(self.welcome(version).await),
            None => Greeting::TurnedAway { min: VERSION_MIN, max: VERSION },
        };
        let mut bytes = BytesMut::new();
        greeting.encode(&mut bytes);
        self.outbox.greet(&bytes).await.map_err(Ended::Broken)?;
        hello.common_version().map(|_| ()).ok_or(Ended::Version)
    }

    async fn welcome(&self, version: u16) -> Welcome {
        // Only a hint, which a busy core need not give.
        let status = timeout(HINT_TIME_MAX, self.handle.status()).await.ok().and_then(Result::ok);
        Welcome {
            version,
            member: self.handle.member(),
            members: self.context.running.settings().replicas,
            leader: status.and_then(|status| status.leader).map(Ordinal),
            request_bytes_max: REQUEST_BYTES_MAX as u32,
            in_flight_max: IN_FLIGHT_MAX as u32,
        }
    }

    /// Hand everything that is whole to the core, in one go.
    fn take_requests(&mut self) -> Result<(), Ended> {
        let usual = self.context.running.settings().write_concern;
        let mut commands = Commands::of_requests(self.read.len());
        let mut drafts = std::mem::take(&mut self.drafts);
        let mut total = 0;
        let malformed = loop {
            let before = self.read.len();
            let (id, request) = match Request::decode(&mut self.read) {
                Ok(Some(read)) => read,
                Ok(None) => break None,
                Err(error) => break Some(error),
            };
            let bytes = before - self.read.len();
            match commands.draft(request, usual) {
                Ok(Draft::Ping) => self.answer(id, &Reply::Pong),
                Ok(draft) => {
                    total += bytes;
                    drafts.push((id, bytes, draft));
                }
                Err(problem) => self.answer(id, &replies::refused(problem)),
            }
        };
        if !drafts.is_empty() {
            self.outbox.took(drafts.len(), total);
            let asked = commands.finish(&mut drafts);
            if let Err((failure, asked)) = self.handle.ask_all(&self.outbox, asked) {
                self.refuse(&failure, asked);
            }
        }
        if drafts.capacity() <= DRAFTS_KEPT {
            self.drafts = drafts;
        }
        // What came before a bad frame still counts.
        malformed.map_or(Ok(()), |error| Err(Ended::Malformed(error)))
    }

    /// Answer a request that does not go to the core.
    fn answer(&self, id: u64, reply: &Reply) {
        self.outbox.took(1, 0);
        self.outbox.reply(id, 0, reply);
    }

    fn refuse(&self, failure: &Failure, asked: Vec<Asked>) {
        let reply = replies::refused(Problem::of_failure(failure.clone(), false));
        for Asked { id, bytes, .. } in asked {
            self.outbox.reply(id, bytes, &reply);
        }
    }

    /// If a request has begun to arrive: how long it is. Its length is checked already.
    fn missing(&self) -> Option<usize> {
        let length = self.read.first_chunk::<4>().map(|length| u32::from_le_bytes(*length) as usize);
        (!self.read.is_empty()).then(|| length.unwrap_or(0) + 4)
    }

    /// Read until so many bytes are there.
    async fn until_whole(&mut self, bytes: usize) -> Result<(), Ended> {
        let large = self.context.large.clone();
        let _room: Option<SemaphorePermit<'_>> = match bytes {
            ..=LARGE_BYTES => None,
            _ => large.acquire_many(bytes as u32).await.ok(),
        };
        while self.read.len() < bytes {
            self.more().await?;
        }
        Ok(())
    }

    /// Wait for bytes, and read what is there.
    async fn more(&mut self) -> Result<(), Ended> {
        self.read.reserve(READ_BYTES);
        match self.stream.read(&mut self.read).await {
            Ok(0) => Err(Ended::Closed),
            Ok(_) => Ok(()),
            Err(error) => Err(Ended::Broken(error)),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Closed => f.write_str("closed by the client"),
            Ended::Broken(error) => write!(f, "broken: {error}"),
            Ended::Malformed(error) => write!(f, "malformed request: {}", crate::listener::chain(error)),
            Ended::Greeting(error) => write!(f, "no greeting: {}", crate::listener::chain(error)),
            Ended::Version => f.write_str("no version in common"),
            Ended::Slow => f.write_str("a request was begun and not finished"),
            Ended::Unread => f.write_str("the answers were not read, or could not be written"),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use holdfast_engine::MemberId;
    use holdfast_wire::native::{Expect, WriteHead};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;
    use crate::core::queue::{CLIENT_EVENTS_MAX, Queue};
    use crate::ending::ending;
    use crate::metrics::Metrics;

    const SETTINGS: &str = "\
store:
  namespace: shop
  name: orders
replicas: 1
strategy: Replication
consensus: Majority
durability: Disk
writeConcern: majority
heartbeat:
  interval: 100ms
  timeout: 1s
peers:
- 127.0.0.1:7401
";

    async fn greeted(context: &Context, handle: &Handle, ending: &Ending) -> (UnixStream, BytesMut) {
        let (mut client, member) = UnixStream::pair().expect("a pair of sockets");
        let stream = Stream::Unix(member);
        let (context, handle, ending) = (context.clone(), handle.clone(), ending.clone());
        tokio::spawn(serve_here(stream, BytesMut::new(), context, handle, ending));
        let mut bytes = BytesMut::new();
        ClientHello::new().encode(&mut bytes);
        client.write_all(&bytes).await.expect("it goes out");
        let mut read = BytesMut::new();
        while Greeting::decode(&mut read).expect("a greeting").is_none() {
            assert!(client.read_buf(&mut read).await.expect("a greeting") > 0);
        }
        (client, read)
    }

    fn puts(count: usize) -> BytesMut {
        let mut out = BytesMut::new();
        for id in 0..count {
            let (key, value) = (Bytes::from_static(b"k"), Bytes::from_static(b"v"));
            let put = Request::Put { write: WriteHead::default(), key, value, expect: Expect::Any };
            put.encode(id as u64, &mut out).expect("it fits");
        }
        out
    }

    #[tokio::test]
    async fn what_a_full_core_has_no_room_for_is_refused_and_not_kept() {
        // Nobody empties this queue.
        let queue = Arc::new(Queue::default());
        let handle = Handle::new(queue.clone(), MemberId::default(), tokio::runtime::Handle::current());
        let settings = serde_yaml::from_str(SETTINGS).expect("settings");
        let (_end, ending) = ending();
        let running = Running::new(settings, ending.clone(), Metrics::example());
        running.started(handle.clone());
        let context = Context::new(running);
        let mut busy = Vec::new();
        for _ in 0..CLIENT_EVENTS_MAX / IN_FLIGHT_MAX {
            let (mut client, _) = greeted(&context, &handle, &ending).await;
            client.write_all(&puts(IN_FLIGHT_MAX)).await.expect("it goes out");
            busy.push(client);
        }
        let (mut late, mut read) = greeted(&context, &handle, &ending).await;
        late.write_all(&puts(100)).await.expect("it goes out");
        for _ in 0..100 {
            let (_, reply) = loop {
                match Reply::decode(&mut read).expect("a reply") {
                    Some(reply) => break reply,
                    None => assert!(late.read_buf(&mut read).await.expect("a reply") > 0),
                }
            };
            let Reply::Refused(refusal) = reply else { panic!("{reply:?}") };
            assert_eq!((refusal.code.as_str(), refusal.retryable), ("Overloaded", true));
            assert!(refusal.retry_after_ms.is_some());
        }
        let mut taken = Vec::new();
        queue.take(&mut taken);
        let kept: usize = taken.iter().map(crate::core::event::Event::count).sum();
        assert!((CLIENT_EVENTS_MAX..CLIENT_EVENTS_MAX + 10).contains(&kept), "{kept} are kept");
    }
}
