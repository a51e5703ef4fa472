//! What this machine takes for the two things that no write on three members can do without: a flush of a few bytes to
//! disk, and a round trip over loopback. Nobody else is measured meanwhile.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use crate::histogram::Histogram;
use crate::protocol::VALUE_BYTES;

/// Bytes of the file: a log segment's size.
const FILE_BYTES: usize = 16 * 1024 * 1024;

/// How long each of the two is measured.
const TIME: Duration = Duration::from_millis(200);

/// The floor at one moment, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Floor {
    /// Median time to append 256 bytes to a zero-filled file and flush them.
    pub(crate) flush_us: f64,
    /// The 99th percentile of the same.
    pub(crate) flush_p99_us: f64,
    /// Median time of 256 bytes there and one byte back.
    pub(crate) round_trip_us: f64,
    /// The 99th percentile of the same.
    pub(crate) round_trip_p99_us: f64,
}

impl Floor {
    /// Measure it, on the file system that `folder` is on.
    ///
    /// # Errors
    ///
    /// If the file cannot be written, or loopback does not work.
    pub(crate) fn measure(folder: &Path) -> anyhow::Result<Floor> {
        let flush = flushes(folder).context("cannot measure a flush")?;
        let round_trip = round_trips().context("cannot measure a round trip")?;
        Ok(Floor {
            flush_us: flush.percentile_us(0.5),
            flush_p99_us: flush.percentile_us(0.99),
            round_trip_us: round_trip.percentile_us(0.5),
            round_trip_p99_us: round_trip.percentile_us(0.99),
        })
    }

    /// The least that a durable majority write can take: the client's round trip, and then the median of the leader's flush
    /// and the two followers' round trip and flush, which is one of the followers'.
    pub(crate) fn write_us(&self) -> f64 {
        2.0 * self.round_trip_us + self.flush_us
    }
}

fn flushes(folder: &Path) -> anyhow::Result<Histogram> {
    let path = folder.join("floor");
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; FILE_BYTES])?;
    file.sync_all()?;
    let mut histogram = Histogram::default();
    let begin = Instant::now();
    let record = [b'f'; VALUE_BYTES];
    for at in (0..FILE_BYTES - VALUE_BYTES).step_by(VALUE_BYTES) {
        let start = Instant::now();
        if start - begin > TIME {
            break;
        }
        file.write_all_at(&record, at as u64)?;
        file.sync_data()?;
        histogram.add(start.elapsed());
    }
    std::fs::remove_file(&path)?;
    Ok(histogram)
}

fn round_trips() -> anyhow::Result<Histogram> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let mut near = TcpStream::connect(listener.local_addr()?)?;
    let (mut far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    let echo = std::thread::spawn(move || {
        let mut request = [0; VALUE_BYTES];
        while far.read_exact(&mut request).is_ok() && far.write_all(&[1]).is_ok() {}
    });
    let mut histogram = Histogram::default();
    let (begin, request, mut reply) = (Instant::now(), [0; VALUE_BYTES], [0; 1]);
    while begin.elapsed() < TIME {
        let start = Instant::now();
        near.write_all(&request)?;
        near.read_exact(&mut reply)?;
        histogram.add(start.elapsed());
    }
    drop(near);
    let _ = echo.join();
    Ok(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_a_write_is_two_round_trips_and_a_flush() {
        let floor = Floor { flush_us: 24.0, flush_p99_us: 50.0, round_trip_us: 3.5, round_trip_p99_us: 9.0 };
        assert_eq!(floor.write_us(), 31.0);
    }

    #[test]
    fn something_is_measured() {
        let folder = tempfile::tempdir().expect("a folder");
        let floor = Floor::measure(folder.path()).expect("a floor");
        assert!(floor.flush_us > 0.0 && floor.round_trip_us > 0.0, "{floor:?}");
        assert!(std::fs::read_dir(folder.path()).expect("the folder").next().is_none(), "the file is gone");
    }
}
