//! One client's connection: bytes out, bytes in, and which requests wait for their reply. It blocks only while it is opened.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::event::epoll::EventFlags;
use socket2::{Domain, SockAddr, Socket, Type};

use crate::protocol::{Protocol, What, excerpt};

/// How long making a connection and greeting may take. On loopback it takes less than a millisecond.
const OPEN_TIME_MAX: Duration = Duration::from_secs(5);

/// Bytes read at once: more than any reply but a page of values.
const READ_BYTES: usize = 64 * 1024;

/// Requests that were sent and not answered wait in a line; one that is answered out of order is searched for from its
/// beginning.
pub(crate) struct Connection {
    socket: Socket,
    client: u64,
    input: Vec<u8>,
    /// Where the first byte of `input` is that was not parsed.
    parsed: usize,
    /// Where the message begins that was parsed last.
    last: usize,
    output: Vec<u8>,
    written: usize,
    flags: EventFlags,
    in_flight: VecDeque<(u64, Instant)>,
    next_tag: u64,
}

/// A reply to a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    /// When the request was made.
    pub(crate) asked_at: Instant,
    /// Whether it was done.
    pub(crate) done: bool,
}

impl Connection {
    /// Connect and greet.
    ///
    /// # Errors
    ///
    /// If nobody listens or the server does not greet.
    pub(crate) fn open(
        address: &SockAddr,
        protocol: &dyn Protocol,
        client: u64,
    ) -> anyhow::Result<Connection> {
        let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
        socket.connect_timeout(address, OPEN_TIME_MAX).context("cannot connect")?;
        if !address.is_unix() {
            socket.set_tcp_nodelay(true)?;
        }
        let mut connection = Connection {
            socket,
            client,
            input: Vec::with_capacity(2 * READ_BYTES),
            parsed: 0,
            last: 0,
            output: Vec::new(),
            written: 0,
            flags: EventFlags::IN,
            in_flight: VecDeque::new(),
            next_tag: 0,
        };
        if protocol.open(client, &mut connection.output) {
            connection.greet(protocol)?;
        }
        connection.socket.set_nonblocking(true)?;
        Ok(connection)
    }

    fn greet(&mut self, protocol: &dyn Protocol) -> anyhow::Result<()> {
        self.socket.set_read_timeout(Some(OPEN_TIME_MAX))?;
        self.socket.write_all(&self.output)?;
        self.output.clear();
        loop {
            while let Some(message) = protocol.read(&self.input[self.parsed..])? {
                self.parsed += message.bytes;
                match message.what {
                    What::Greeted => return Ok(()),
                    What::Answer(bytes) => self.socket.write_all(bytes)?,
                    What::Nothing => {}
                    What::Reply { .. } => bail!("a reply before the greeting"),
                }
            }
            let filled = self.input.len();
            self.input.resize(filled + READ_BYTES, 0);
            let read = self.socket.read(&mut self.input[filled..]).context("the server does not greet")?;
            self.input.truncate(filled + read);
            ensure!(read > 0, "the server closed the connection instead of greeting");
        }
    }

    /// The socket, to listen to.
    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Requests without a reply.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Since when the oldest request waits.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.in_flight.front().map(|(_, asked_at)| *asked_at)
    }

    /// Make a request; [`Connection::flush`] sends it.
    pub(crate) fn ask(&mut self, protocol: &dyn Protocol, now: Instant, keys: &mut dyn FnMut() -> u64) {
        protocol.request(self.client, self.next_tag, keys, &mut self.output);
        self.in_flight.push_back((self.next_tag, now));
        self.next_tag += 1;
    }

    /// Send what the socket takes. Returns whether that was all.
    ///
    /// # Errors
    ///
    /// If the connection is broken.
    pub(crate) fn flush(&mut self) -> anyhow::Result<bool> {
        while self.written < self.output.len() {
            match self.socket.write(&self.output[self.written..]) {
                Ok(written) => self.written += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot send"),
            }
        }
        self.output.clear();
        self.written = 0;
        Ok(true)
    }

    /// Remember what is listened for; whether that is new.
    pub(crate) fn listens_for(&mut self, flags: EventFlags) -> bool {
        std::mem::replace(&mut self.flags, flags) != flags
    }

    /// Take in what has arrived; nothing if nothing has.
    ///
    /// # Errors
    ///
    /// If the connection is closed or broken.
    pub(crate) fn receive(&mut self) -> anyhow::Result<()> {
        self.input.drain(..self.parsed);
        self.parsed = 0;
        let filled = self.input.len();
        self.input.resize(filled + READ_BYTES, 0);
        let read = self.socket.read(&mut self.input[filled..]);
        self.input.truncate(filled + *read.as_ref().unwrap_or(&0));
        match read {
            Ok(0) => bail!("the server closed the connection"),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(()),
            Err(error) => Err(error).context("cannot receive"),
        }
    }

    /// The next reply that has arrived whole.
    ///
    /// # Errors
    ///
    /// If what has arrived is not of the protocol, or answers nothing that was asked.
    pub(crate) fn next_reply(&mut self, protocol: &dyn Protocol) -> anyhow::Result<Option<Reply>> {
        while let Some(message) = protocol.read(&self.input[self.parsed..])? {
            self.last = self.parsed;
            self.parsed += message.bytes;
            match message.what {
                What::Answer(bytes) => self.output.extend_from_slice(bytes),
                What::Greeted | What::Nothing => {}
                What::Reply { done, tag } => {
                    let at = match tag {
                        None => Some(0),
                        Some(tag) => self.in_flight.iter().position(|(asked, _)| *asked == tag),
                    };
                    let asked = at.and_then(|at| self.in_flight.remove(at));
                    let (_, asked_at) = asked.context("a reply to nothing that was asked")?;
                    return Ok(Some(Reply { asked_at, done }));
                }
            }
        }
        Ok(None)
    }

    /// The message that was parsed last.
    pub(crate) fn last_message(&self) -> &[u8] {
        &self.input[self.last..self.parsed]
    }

    /// The message that was parsed last, for people.
    pub(crate) fn last_excerpt(&self) -> String {
        excerpt(self.last_message())
    }
}
