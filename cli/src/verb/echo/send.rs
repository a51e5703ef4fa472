//! `holdfast echo send`: sends lines, shows what comes back and how long that took.

use std::io::{self, BufRead as _, Write as _};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::lines::{LINE_BYTES_MAX, Lines, Next};
use crate::arguments::{EchoSend, Output};
use crate::exit::{Exit, Failure};
use crate::output::{settle, write_one};
use crate::remark;
use crate::table::printable;

/// Lines of standard input that were read and not sent yet: enough that a pipe is never waited for, and little memory.
const LINES_WAITING_MAX: usize = 16;

/// One line, there and back.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Data<'a> {
    message: &'a str,
    reply: &'a str,
    round_trip_ms: f64,
}

/// A connection to the end that answers.
struct Connection<'a> {
    to: &'a str,
    patience: Duration,
    replies: Lines<OwnedReadHalf>,
    out: OwnedWriteHalf,
}

pub(super) async fn run(send: &EchoSend) -> Result<Exit, Failure> {
    let began = Instant::now();
    let mut connection = Connection::open(&send.to, send.timeout.get()).await?;
    let connected = began.elapsed();
    let trips = match &send.message {
        Some(message) => {
            check(message)?;
            let mut trips = Vec::new();
            for _ in 0..send.count {
                let Some(trip) = connection.exchange(message, send.printed.output).await? else {
                    return Ok(Exit::Ok);
                };
                trips.push(trip);
            }
            trips
        }
        None => {
            remark(&format!(
                "connected to {} in {}; every line is sent, ctrl-d ends it",
                send.to,
                milliseconds(connected)
            ));
            connection.converse(send.printed.output).await?
        }
    };
    if send.printed.output == Output::Table && trips.len() > 1 {
        remark(&summary(&trips, connected));
    }
    Ok(Exit::Ok)
}

fn check(message: &str) -> Result<(), Failure> {
    if message.contains('\n') || message.len() > LINE_BYTES_MAX {
        return Err(Failure::usage(format!("a message is one line of at most {LINE_BYTES_MAX} bytes")));
    }
    Ok(())
}

impl<'a> Connection<'a> {
    async fn open(to: &'a str, patience: Duration) -> Result<Connection<'a>, Failure> {
        let stream = match timeout(patience, TcpStream::connect(to)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let hint = "`holdfast echo serve` answers there if it runs";
                return Err(Failure::general(format!("cannot connect to {to}: {error}; {hint}")));
            }
            Err(_) => return Err(silent(to, patience, "nobody there took the connection")),
        };
        // A line must not wait for the next one.
        stream.set_nodelay(true).map_err(Failure::general)?;
        let (reader, out) = stream.into_split();
        Ok(Connection { to, patience, replies: Lines::new(reader), out })
    }

    /// Send what comes on standard input, line by line. It ends with it, or when nobody reads standard output.
    async fn converse(&mut self, output: Output) -> Result<Vec<Duration>, Failure> {
        let (sender, mut lines) = mpsc::channel(LINES_WAITING_MAX);
        // A thread of its own: nothing else can wait for a terminal. It ends with the process.
        std::thread::spawn(move || {
            for line in io::stdin().lock().lines() {
                if sender.blocking_send(line).is_err() {
                    return;
                }
            }
        });
        let mut trips = Vec::new();
        while let Some(line) = lines.recv().await {
            let line =
                line.map_err(|error| Failure::general(format!("cannot read standard input: {error}")))?;
            check(&line)?;
            match self.exchange(&line, output).await? {
                Some(trip) => trips.push(trip),
                None => break,
            }
        }
        Ok(trips)
    }

    /// One line there and back; `None` if nobody reads standard output any more.
    async fn exchange(&mut self, message: &str, output: Output) -> Result<Option<Duration>, Failure> {
        let (to, patience) = (self.to, self.patience);
        let began = Instant::now();
        let exchange = async {
            self.out.write_all(format!("{message}\n").as_bytes()).await?;
            self.replies.next().await
        };
        let next = timeout(patience, exchange).await.map_err(|_| silent(to, patience, "no answer came"))?;
        let trip = began.elapsed();
        let lost = |why: String| Failure::general(format!("the connection to {to} is lost: {why}"));
        match next.map_err(|error| lost(error.to_string()))? {
            Next::Line(reply) => {
                let data = Data { message, reply: &reply, round_trip_ms: trip.as_secs_f64() * 1e3 };
                Ok(settle(write(output, &data, trip))?.then_some(trip))
            }
            Next::TooLong => Err(lost(format!("an answer has more than {LINE_BYTES_MAX} bytes"))),
            Next::End => Err(lost("the other end closed it".to_owned())),
        }
    }
}

fn silent(to: &str, patience: Duration, what: &str) -> Failure {
    let text = format!("{to} is silent: {what} within {}; --timeout allows for more", milliseconds(patience));
    Failure::new(Exit::Timeout, text)
}

fn write(output: Output, data: &Data<'_>, trip: Duration) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let line = || format!("{}  ({})", printable(data.reply.as_bytes()), milliseconds(trip));
    write_one(&mut out, output, data, line)?;
    out.flush()
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

fn summary(trips: &[Duration], connected: Duration) -> String {
    let count = u32::try_from(trips.len()).unwrap_or(u32::MAX);
    let mean = trips.iter().sum::<Duration>() / count.max(1);
    let edge = |edge: Option<&Duration>| milliseconds(edge.copied().unwrap_or_default());
    format!(
        "{count} round trips: shortest {}, mean {}, longest {}; connected in {}",
        edge(trips.iter().min()),
        milliseconds(mean),
        edge(trips.iter().max()),
        milliseconds(connected)
    )
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[tokio::test]
    async fn a_line_goes_there_and_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = listener.local_addr().expect("an address").to_string();
        let limits = super::super::Limits { clients_max: 1, idle: PATIENCE, write: PATIENCE };
        tokio::spawn(super::super::serve(listener, limits));
        let mut connection = Connection::open(&to, PATIENCE).await.expect("it listens");
        for _ in 0..3 {
            connection.exchange("hello", Output::Json).await.expect("an answer").expect("somebody reads");
        }
    }

    #[tokio::test]
    async fn nobody_and_silence_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = listener.local_addr().expect("an address").to_string();
        let mut connection = Connection::open(&to, PATIENCE).await.expect("the system takes it");
        connection.patience = Duration::from_millis(20);
        let silent = connection.exchange("hello", Output::Table).await.expect_err("nobody answers");
        assert_eq!(silent.exit(), Exit::Timeout);
        assert!(silent.to_string().contains("no answer came within 20.00 ms"), "{silent}");
        drop(listener);
        let nobody = Connection::open(&to, PATIENCE).await.map(|_| ()).expect_err("nobody listens");
        assert!(
            nobody.exit() == Exit::Failure && nobody.to_string().contains("holdfast echo serve"),
            "{nobody}"
        );
    }

    #[test]
    fn the_round_trips_come_to_a_line() {
        let trips = [1, 2, 6].map(Duration::from_millis);
        assert_eq!(
            summary(&trips, Duration::from_micros(500)),
            "3 round trips: shortest 1.00 ms, mean 3.00 ms, longest 6.00 ms; connected in 0.50 ms"
        );
        assert!(check("two\nlines").is_err());
    }
}
