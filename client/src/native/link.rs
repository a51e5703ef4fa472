//! One connection, shared by everybody who has something to ask: requests are encoded into one buffer, replies find
//! their way back by the request's name.
//!
//! A request that is alone is written at once by whoever asks; of many, one task writes what has collected, so that a
//! thousand callers cost one call to the kernel. Refuses to connect again: a link that broke stays so, and whoever needs
//! one makes another.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::{Buf, BytesMut};
use holdfast_wire::native::{ClientHello, Greeting, REQUEST_BYTES_MAX, Reply, Request, Welcome};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::{tcp, unix};
use tokio::sync::{Notify, Semaphore, oneshot};
use tokio::time::{Duration, Instant, sleep_until};

use super::address::Stream;

/// Bytes that are read in one go.
const READ_BYTES: usize = 64 * 1024;

/// Requests under way are counted in pieces of so many bytes, each at least one.
const PIECE_BYTES: usize = 4096;

/// Most pieces under way over one connection: 4096 small requests, which is what a member works on at a time, or 16 MiB.
const PIECES_MAX: usize = 4096;

/// An empty buffer larger than this is given back.
const IDLE_BYTES_MAX: usize = 256 * 1024;

/// While nothing waits there is nothing to look after.
const FOREVER: Duration = Duration::from_secs(3600);

/// What a member says to whom it turns away because its port is full; it speaks HTTP then.
const HTTP: &[u8] = b"HTTP/";

/// An established connection.
#[derive(Debug)]
pub(crate) struct Link {
    /// What the member said of itself.
    pub(crate) welcome: Welcome,
    write: WriteHalf,
    state: Mutex<State>,
    pieces: Semaphore,
    /// The writing task has something to do, or nothing ever again.
    unsent: Notify,
    /// A waiter has an earlier deadline than those before.
    earlier: Notify,
}

#[derive(Debug)]
struct State {
    out: BytesMut,
    waiting: HashMap<u64, Waiter>,
    last_id: u64,
    /// When to look next for waiters whose time is up. May be too early, never too late.
    look: Instant,
    /// Why the connection is over, if it is.
    over: Option<String>,
}

#[derive(Debug)]
struct Waiter {
    deadline: Instant,
    reply: oneshot::Sender<Result<Reply, Lost>>,
}

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The request did not leave this process.
    NotSent(String),
    /// It may have been taken.
    Broken(String),
    /// It may have been taken, or will be, and the time is up.
    Late,
    /// No member takes such a request.
    TooLarge(usize),
}

#[derive(Debug)]
enum WriteHalf {
    Tcp(tcp::OwnedWriteHalf),
    Unix(unix::OwnedWriteHalf),
}

/// Ends the connection when the last of those who use it is gone.
#[derive(Debug)]
pub(crate) struct Shared {
    link: Arc<Link>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.link.end("the client is gone".to_owned());
    }
}

impl std::ops::Deref for Shared {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Link {
    /// Greet, and start the tasks that serve the connection. Must run inside a tokio runtime.
    pub(crate) async fn start(stream: Stream) -> io::Result<Shared> {
        match stream {
            Stream::Tcp(stream) => {
                let (read, write) = stream.into_split();
                Link::greet(read, WriteHalf::Tcp(write)).await
            }
            Stream::Unix(stream) => {
                let (read, write) = stream.into_split();
                Link::greet(read, WriteHalf::Unix(write)).await
            }
        }
    }

    async fn greet(
        mut stream: impl AsyncRead + Unpin + Send + 'static,
        write: WriteHalf,
    ) -> io::Result<Shared> {
        let mut hello = BytesMut::new();
        ClientHello::new().encode(&mut hello);
        // Nothing was written before, so that the socket has room for it.
        write.try_write(&hello)?;
        let mut read = BytesMut::new();
        let welcome = loop {
            match Greeting::decode(&mut read) {
                Ok(Some(Greeting::Welcome(welcome))) => break welcome,
                Ok(Some(Greeting::TurnedAway { min, max })) => {
                    let text = format!("the member speaks versions {min} to {max} of the protocol");
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                Ok(None) if stream.read_buf(&mut read).await? == 0 => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the member closed the connection",
                    ));
                }
                Ok(None) => {}
                Err(_) if read.starts_with(HTTP) => {
                    let text = "the member has as many connections as it takes";
                    return Err(io::Error::new(io::ErrorKind::ConnectionRefused, text));
                }
                Err(error) => return Err(io::Error::new(io::ErrorKind::InvalidData, error)),
            }
        };
        let link = Arc::new(Link {
            welcome,
            write,
            state: Mutex::new(State {
                out: BytesMut::new(),
                waiting: HashMap::new(),
                last_id: 0,
                look: Instant::now() + FOREVER,
                over: None,
            }),
            pieces: Semaphore::new(PIECES_MAX),
            unsent: Notify::new(),
            earlier: Notify::new(),
        });
        tokio::spawn(link.clone().write_unsent());
        tokio::spawn(link.clone().hear(stream, read));
        Ok(Shared { link })
    }

    /// Whether nothing can be asked any more.
    pub(crate) fn is_over(&self) -> bool {
        self.lock().over.is_some()
    }

    /// Ask, and wait for the reply until `deadline`. Dropping this half way leaves the request's outcome open.
    pub(crate) async fn ask(
        &self,
        request: &Request,
        bytes: usize,
        deadline: Instant,
    ) -> Result<Reply, Lost> {
        if bytes > REQUEST_BYTES_MAX {
            return Err(Lost::TooLarge(bytes));
        }
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES).max(1)).unwrap_or(u32::MAX);
        let waited = match self.pieces.try_acquire_many(pieces) {
            Ok(place) => Ok(place),
            Err(_) => tokio::time::timeout_at(deadline, self.pieces.acquire_many(pieces))
                .await
                .map_err(|_| Lost::NotSent("too many requests are under way".to_owned()))?,
        };
        let Ok(_place) = waited else { return Err(Lost::NotSent("the connection is over".to_owned())) };
        let (id, reply) = self.send(request, deadline)?;
        let forgotten = Forgotten { link: self, id };
        let reply = reply.await;
        std::mem::forget(forgotten); // whoever answered has forgotten it
        reply.unwrap_or_else(|_| Err(Lost::Broken("the connection's task ended".to_owned())))
    }

    fn send(
        &self,
        request: &Request,
        deadline: Instant,
    ) -> Result<(u64, oneshot::Receiver<Result<Reply, Lost>>), Lost> {
        let (reply, answer) = oneshot::channel();
        let mut state = self.lock();
        if let Some(why) = &state.over {
            return Err(Lost::NotSent(why.clone()));
        }
        let id = state.last_id + 1;
        let was_empty = state.out.is_empty();
        request.encode(id, &mut state.out).map_err(|error| Lost::TooLarge(error.bytes))?;
        state.last_id = id;
        let alone = state.waiting.is_empty();
        state.waiting.insert(id, Waiter { deadline, reply });
        let earlier = deadline < state.look;
        if earlier {
            state.look = deadline;
        }
        if alone && was_empty {
            // Nobody else has anything to send: every hop to another task would only make it later.
            self.write(&mut state);
        }
        let unsent = was_empty && !state.out.is_empty();
        drop(state);
        if unsent {
            self.unsent.notify_one();
        }
        if earlier {
            self.earlier.notify_one();
        }
        Ok((id, answer))
    }

    /// Write what the socket has room for. Whether something is left that it has none for.
    fn write(&self, state: &mut State) -> bool {
        while !state.out.is_empty() {
            match self.write.try_write(&state.out) {
                Ok(written) => state.out.advance(written),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) => {
                    state.end(error.to_string());
                    return false;
                }
            }
        }
        if state.out.capacity() > IDLE_BYTES_MAX {
            state.out = BytesMut::new();
        } else {
            state.out.clear();
        }
        false
    }

    /// The task that writes what has collected.
    async fn write_unsent(self: Arc<Link>) {
        loop {
            self.unsent.notified().await;
            // Whoever is about to ask does so now, and comes along.
            tokio::task::yield_now().await;
            loop {
                let blocked = {
                    let mut state = self.lock();
                    if state.over.is_some() {
                        return;
                    }
                    self.write(&mut state)
                };
                if !blocked {
                    break;
                }
                if let Err(error) = self.write.writable().await {
                    return self.end(error.to_string());
                }
            }
        }
    }

    /// The task that hears replies, and looks after those who wait for too long.
    async fn hear(self: Arc<Link>, mut stream: impl AsyncRead + Unpin, mut read: BytesMut) {
        let mut answered = Vec::new();
        let why = loop {
            if let Err(error) = self.answer(&mut read, &mut answered) {
                break error;
            }
            let look = {
                let state = self.lock();
                if state.over.is_some() {
                    return;
                }
                state.look
            };
            read.reserve(READ_BYTES);
            tokio::select! {
                bytes = stream.read_buf(&mut read) => match bytes {
                    Ok(0) => break "the member closed the connection".to_owned(),
                    Ok(_) => {}
                    Err(error) => break error.to_string(),
                },
                () = sleep_until(look) => self.expire(),
                () = self.earlier.notified() => {}
            }
        };
        self.end(why);
    }

    /// Hand all whole replies to those who wait for them.
    fn answer(
        &self,
        read: &mut BytesMut,
        answered: &mut Vec<(oneshot::Sender<Result<Reply, Lost>>, Reply)>,
    ) -> Result<(), String> {
        let mut replies = Vec::new();
        let malformed = loop {
            match Reply::decode(read) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break Ok(()),
                Err(error) => break Err(format!("the member sent what is no reply: {error}")),
            }
        };
        if !replies.is_empty() {
            let mut state = self.lock();
            answered.extend(replies.into_iter().filter_map(|(id, reply)| {
                // Nobody waits any more for the others.
                state.waiting.remove(&id).map(|waiter| (waiter.reply, reply))
            }));
        }
        for (waiter, reply) in answered.drain(..) {
            let _ = waiter.send(Ok(reply));
        }
        malformed
    }

    /// Give up on everything whose time is up.
    fn expire(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let late: Vec<Waiter> =
            state.waiting.extract_if(|_, waiter| waiter.deadline <= now).map(|(_, waiter)| waiter).collect();
        let earliest = state.waiting.values().map(|waiter| waiter.deadline).min();
        state.look = earliest.unwrap_or(now + FOREVER);
        drop(state);
        for waiter in late {
            let _ = waiter.reply.send(Err(Lost::Late));
        }
    }

    fn end(&self, why: String) {
        self.lock().end(why);
        self.unsent.notify_one();
        self.earlier.notify_one();
    }

    /// Nothing panics while it holds the lock, so that a poisoned one is still whole.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn end(&mut self, why: String) {
        let why = self.over.get_or_insert(why);
        for (_, waiter) in self.waiting.drain() {
            let _ = waiter.reply.send(Err(Lost::Broken(why.clone())));
        }
        self.out = BytesMut::new();
    }
}

impl WriteHalf {
    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            WriteHalf::Tcp(stream) => stream.try_write(bytes),
            WriteHalf::Unix(stream) => stream.try_write(bytes),
        }
    }

    async fn writable(&self) -> io::Result<()> {
        match self {
            WriteHalf::Tcp(stream) => stream.writable().await,
            WriteHalf::Unix(stream) => stream.writable().await,
        }
    }
}

/// A request that nobody waits for any more.
struct Forgotten<'a> {
    link: &'a Link,
    id: u64,
}

impl Drop for Forgotten<'_> {
    fn drop(&mut self) {
        self.link.lock().waiting.remove(&self.id);
    }
}
