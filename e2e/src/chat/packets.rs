//! A client of the packet protocol, written from its contract alone: it takes whatever one read returns for one packet, adopts the
//! name of every reply, sends operation 7 after each connection, and goes round the servers until one leads.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};

/// What one read takes, and so the longest packet.
const READ_BYTES: usize = 1024;
/// How long a server that leads is looked for.
const SEARCH_MAX: Duration = Duration::from_secs(60);
/// How long a connection may take: where a pod was, nobody says that it is gone.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// Silence in which nothing more comes.
const QUIET: Duration = Duration::from_millis(400);
/// How long an answer may take on a busy machine.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a server greets with: an operation and a text.
///
/// # Errors
///
/// If it says nothing that is a packet.
pub fn greeting(server: &str) -> anyhow::Result<(u8, String)> {
    let mut stream = TcpStream::connect(server).with_context(|| format!("cannot connect to {server}"))?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    let (_, operation, text) = read(&mut stream)?;
    Ok((operation, text))
}

/// A client that knows all servers.
#[derive(Debug)]
pub struct PacketClient {
    servers: Vec<String>,
    at: usize,
    stream: Option<TcpStream>,
    /// Who it is logged in as, as the last reply said.
    pub name: String,
}

impl PacketClient {
    /// Of these servers. Connects when it is first used.
    pub fn new(servers: Vec<String>) -> PacketClient {
        PacketClient { servers, at: 0, stream: None, name: String::new() }
    }

    /// Connects to the one that leads, and says who it is.
    ///
    /// # Errors
    ///
    /// If none leads for a minute.
    pub fn connect(&mut self) -> anyhow::Result<()> {
        let until = Instant::now() + SEARCH_MAX;
        while Instant::now() < until {
            let address: SocketAddr = self.servers[self.at].parse().context("no address of a server")?;
            if let Ok(mut stream) = TcpStream::connect_timeout(&address, CONNECT_MAX) {
                stream.set_read_timeout(Some(ANSWER_MAX))?;
                match read(&mut stream) {
                    Ok((_, 1, text)) => {
                        ensure!(text == "Server is the leader", "it greets with {text:?}");
                        stream.write_all(&packet(&self.name, 7, ""))?;
                        self.stream = Some(stream);
                        return Ok(());
                    }
                    Ok((_, 0, text)) => ensure!(text == "Server is not leader", "it refuses with {text:?}"),
                    Ok((_, other, _)) => bail!("it greets with operation {other}"),
                    Err(_) => {}
                }
            }
            self.at = (self.at + 1) % self.servers.len();
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("no server led within {SEARCH_MAX:?}")
    }

    /// Sends a request and gives the first packet that comes back.
    ///
    /// # Errors
    ///
    /// If none comes.
    pub fn ask(&mut self, operation: u8, data: &str) -> anyhow::Result<String> {
        self.send(operation, data)?;
        self.receive().context("no answer")
    }

    /// Sends a request; connects first if it is not.
    ///
    /// # Errors
    ///
    /// If the connection broke; the next call connects again.
    pub fn send(&mut self, operation: u8, data: &str) -> anyhow::Result<()> {
        if self.stream.is_none() {
            self.connect()?;
        }
        let stream = self.stream.as_mut().expect("connected");
        let sent = stream.write_all(&packet(&self.name, operation, data));
        if sent.is_err() {
            self.stream = None;
        }
        Ok(sent?)
    }

    /// The next packet.
    ///
    /// # Errors
    ///
    /// If the connection broke, or nothing comes; the next call connects again.
    pub fn receive(&mut self) -> anyhow::Result<String> {
        let stream = self.stream.as_mut().context("not connected")?;
        match read(stream) {
            Ok((name, operation, text)) => {
                ensure!(operation == 1, "operation {operation} with {text:?}");
                self.name = name;
                Ok(text)
            }
            Err(error) => {
                self.stream = None;
                Err(error)
            }
        }
    }

    /// Every packet that comes until it is quiet.
    ///
    /// # Errors
    ///
    /// If the connection broke.
    pub fn all(&mut self) -> anyhow::Result<Vec<String>> {
        let mut all = Vec::new();
        loop {
            let stream = self.stream.as_mut().context("not connected")?;
            stream.set_read_timeout(Some(QUIET))?;
            let mut peeked = [0];
            let waiting = stream.peek(&mut peeked);
            stream.set_read_timeout(Some(ANSWER_MAX))?;
            match waiting {
                Ok(0) => bail!("the connection was closed after {all:?}"),
                Ok(_) => all.push(self.receive()?),
                Err(error)
                    if matches!(
                        error.kind(),
                        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                    ) =>
                {
                    return Ok(all);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn packet(name: &str, operation: u8, data: &str) -> Vec<u8> {
    let mut bytes = (name.len() as u32).to_be_bytes().to_vec();
    bytes.extend(name.as_bytes());
    bytes.extend((data.len() as u32).to_be_bytes());
    bytes.push(operation);
    bytes.extend(data.as_bytes());
    bytes
}

/// One read is one packet: what does not fit, or comes with another, is an error here and lost for such clients.
fn read(stream: &mut TcpStream) -> anyhow::Result<(String, u8, String)> {
    let mut bytes = [0; READ_BYTES];
    let count = stream.read(&mut bytes)?;
    ensure!(count > 0, "the connection was closed");
    let bytes = &bytes[..count];
    let length = |at: usize| -> anyhow::Result<usize> {
        let four = bytes.get(at..at + 4).context("a packet that is cut")?;
        Ok(u32::from_be_bytes(four.try_into()?) as usize)
    };
    let name = length(0)?;
    let data = length(4 + name)?;
    ensure!(count == 9 + name + data, "one read gave {count} bytes of a packet of {}", 9 + name + data);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
    Ok((text(&bytes[4..4 + name])?, bytes[8 + name], text(&bytes[9 + name..])?))
}
