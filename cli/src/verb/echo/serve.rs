//! `holdfast echo serve`: answers every line that comes, for many at once.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::lines::{LINE_BYTES_MAX, Lines, Next};
use crate::arguments::EchoServe;
use crate::exit::{Exit, Failure};
use crate::remark;

/// How much is given to whom.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Clients at once. Each may have a line and its answer in memory.
    pub clients_max: usize,
    /// A client that says nothing for so long is sent away.
    pub idle: Duration,
    /// How long a client may take to read an answer.
    pub write: Duration,
}

/// 256 clients: 32 MiB at the very most. Five minutes are a pause of somebody who types; an answer that is not read within
/// ten seconds is read by nobody.
const LIMITS: Limits =
    Limits { clients_max: 256, idle: Duration::from_secs(300), write: Duration::from_secs(10) };

/// Pause after the system had no connection to give, such as when descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn run(arguments: &EchoServe) -> Result<Exit, Failure> {
    let address = &arguments.listen;
    let listener = TcpListener::bind(address).await;
    let listener = listener.map_err(|error| {
        Failure::general(format!("cannot listen at {address}: {error}; give another address with --listen"))
    })?;
    let at = listener.local_addr().map_err(Failure::general)?;
    let stop =
        |kind| signal(kind).map_err(|error| Failure::general(format!("cannot listen for signals: {error}")));
    let (mut interrupt, mut terminate) = (stop(SignalKind::interrupt())?, stop(SignalKind::terminate())?);
    remark(&format!("answering at {at}; ctrl-c ends it"));
    tokio::select! {
        never = serve(listener, LIMITS) => match never {},
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(Exit::Ok)
}

/// Answers whoever connects, until it is dropped; that ends all of them.
pub async fn serve(listener: TcpListener, limits: Limits) -> std::convert::Infallible {
    let room = Arc::new(Semaphore::new(limits.clients_max));
    let mut clients = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = clients.join_next() => continue,
        };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        match room.clone().try_acquire_owned() {
            Ok(place) => clients.spawn(async move {
                // A client that is gone needs no answer.
                let _ = answer(stream, limits).await;
                drop(place);
            }),
            Err(_) => clients.spawn(async move {
                let mut stream = stream;
                let text = format!("{} clients are here already; come back later", limits.clients_max);
                let _ = timeout(limits.write, say(&mut stream, "Error", &text)).await;
            }),
        };
    }
}

/// Answers one client until it leaves.
async fn answer(stream: TcpStream, limits: Limits) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut lines = Lines::new(reader);
    loop {
        let (word, text, last) = match timeout(limits.idle, lines.next()).await {
            Ok(next) => match next? {
                Next::Line(line) => ("Echo", line, false),
                Next::TooLong => ("Error", format!("a line has at most {LINE_BYTES_MAX} bytes"), true),
                Next::End => return Ok(()),
            },
            Err(_) => ("Error", format!("nothing came for {} s", limits.idle.as_secs()), true),
        };
        timeout(limits.write, say(&mut writer, word, &text)).await??;
        if last {
            return Ok(());
        }
    }
}

async fn say(writer: &mut (impl AsyncWrite + Unpin), word: &str, text: &str) -> io::Result<()> {
    let now = Timestamp::now().strftime("%Y-%m-%d %H:%M:%S");
    writer.write_all(format!("[{now}] {word}: {text}\n").as_bytes()).await
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::io::AsyncReadExt as _;

    use super::*;

    async fn server(limits: Limits) -> (SocketAddr, JoinSet<std::convert::Infallible>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut server = JoinSet::new();
        server.spawn(serve(listener, limits));
        (address, server)
    }

    async fn connect(address: SocketAddr) -> Lines<TcpStream> {
        Lines::new(TcpStream::connect(address).await.expect("it listens"))
    }

    async fn next(client: &mut Lines<TcpStream>) -> String {
        match timeout(Duration::from_secs(30), client.next()).await.expect("in time").expect("readable") {
            Next::Line(line) => line,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn every_line_comes_back_with_the_time() {
        let (address, _server) = server(LIMITS).await;
        let mut client = TcpStream::connect(address).await.expect("it listens");
        client.write_all("grüße\r\ntwo\nno end".as_bytes()).await.expect("open");
        let mut client = Lines::new(client);
        for expected in ["grüße", "two", "no end"] {
            let line = next(&mut client).await;
            let (time, text) = line.split_at("[2026-11-21 14:00:00]".len());
            assert_eq!(text, format!(" Echo: {expected}"));
            let pattern: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(pattern, "[0000-00-00 00:00:00]");
        }
    }

    #[tokio::test]
    async fn many_clients_are_answered_at_once_and_no_more_than_there_is_room_for() {
        let (address, _server) = server(Limits { clients_max: 64, ..LIMITS }).await;
        let mut clients = Vec::new();
        for number in 0..64 {
            let mut stream = TcpStream::connect(address).await.expect("it listens");
            stream.write_all(format!("{number}\n").as_bytes()).await.expect("open");
            let mut client = Lines::new(stream);
            assert!(next(&mut client).await.ends_with(&format!("Echo: {number}")));
            clients.push(client);
        }
        let refused = next(&mut connect(address).await).await;
        assert!(refused.ends_with("Error: 64 clients are here already; come back later"), "{refused}");
        drop(clients);
        let there = async {
            loop {
                let mut stream = TcpStream::connect(address).await.expect("it listens");
                // One that is refused may be closed before this arrives.
                let _ = stream.write_all(b"again\n").await;
                let mut said = [0; 64];
                let read = stream.read(&mut said).await.unwrap_or(0);
                if String::from_utf8_lossy(&said[..read]).contains("Echo: again") {
                    return;
                }
            }
        };
        timeout(Duration::from_secs(30), there).await.expect("there is room again");
    }

    #[tokio::test]
    async fn who_says_nothing_or_too_much_is_sent_away() {
        let (address, _server) = server(Limits { idle: Duration::from_millis(50), ..LIMITS }).await;
        let mut silent = connect(address).await;
        assert!(next(&mut silent).await.contains("Error: nothing came"));
        assert_eq!(silent.next().await.expect("readable"), Next::End);
        let (address, _server) = server(LIMITS).await;
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        stream.write_all(&vec![b'x'; LINE_BYTES_MAX + 1]).await.expect("open");
        assert!(next(&mut Lines::new(stream)).await.contains("Error: a line has at most 65536 bytes"));
    }
}
