//! A member as a real process for the tests beside this folder, and a client that shares no code with the product.
//!
//! It refuses to wait for a time: everything is awaited by a condition, with a bound that only a hang reaches.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longer than anything takes on the busiest machine.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// Strategy and what goes with it in the settings file.
pub(crate) const REPLICATION: &str = "strategy: Replication\ndurability: Disk\n";
pub(crate) const BASELINE: &str = "strategy: Baseline\ndurability: Memory\n";
pub(crate) const CHECKPOINTING: &str =
    "strategy: Checkpointing\ndurability: Memory\ncheckpoint:\n  interval: 1h\n  retain: 2\n";

/// A store of one member: its folder and its settings file.
pub(crate) struct Store {
    pub(crate) folder: TempDir,
    strategy: &'static str,
}

/// A member that was started.
pub(crate) struct Process {
    child: Child,
    /// Kept open: closing it ends a member with a lifeline.
    stdin: Option<ChildStdin>,
    log: Arc<Mutex<Vec<String>>>,
    pub(crate) client: SocketAddr,
    pub(crate) admin: SocketAddr,
}

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Store {
    pub(crate) fn new(strategy: &'static str) -> Store {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store { folder, strategy };
        store.write_settings("majority", "100ms");
        store
    }

    pub(crate) fn settings(&self) -> PathBuf {
        self.folder.path().join("settings.yaml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn write_settings(&self, write_concern: &str, heartbeat: &str) {
        self.write_settings_of("orders", write_concern, heartbeat);
    }

    /// Written beside and renamed, as a kubelet does: nobody reads half a file.
    pub(crate) fn write_settings_of(&self, name: &str, write_concern: &str, heartbeat: &str) {
        let text = format!(
            "store:\n  namespace: shop\n  name: {name}\nreplicas: 1\nconsensus: Majority\n\
             writeConcern: {write_concern}\nheartbeat:\n  interval: {heartbeat}\n  timeout: 1s\n\
             peers:\n- 127.0.0.1:7401\n{}",
            self.strategy
        );
        let beside = self.folder.path().join("settings.new");
        fs::write(&beside, text).expect("the settings are written");
        fs::rename(beside, self.settings()).expect("the settings are in place");
    }

    /// The program with everything it needs; its ports are free ones.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-sidecar"));
        self.arguments(&mut command);
        command
    }

    pub(crate) fn arguments(&self, command: &mut Command) {
        command
            .args(["--ordinal", "0", "--log-format", "json"])
            .args(["--client-address", "127.0.0.1:0", "--peer-address", "127.0.0.1:0"])
            .args(["--admin-address", "127.0.0.1:0"])
            .arg("--settings")
            .arg(self.settings())
            .arg("--data")
            .arg(self.data())
            .env("HOLDFAST_LOG", "info");
    }

    pub(crate) fn start(&self) -> Process {
        Process::start(self.command())
    }
}

/// A store of three members.
pub(crate) struct Cluster {
    /// What every member is told beside what it must be told.
    also: &'static [&'static str],
    stores: Vec<Store>,
    peers: Vec<SocketAddr>,
    pub(crate) members: Vec<Option<Process>>,
}

impl Cluster {
    /// Start three members, and wait until each is ready.
    pub(crate) fn start() -> Cluster {
        Cluster::start_with(&[])
    }

    /// As [`Cluster::start`], with further arguments.
    pub(crate) fn start_with(also: &'static [&'static str]) -> Cluster {
        // Held all at once so that they differ; free again when the members start.
        let held: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
        let peers: Vec<_> = held.iter().map(|held| held.local_addr().expect("it is bound")).collect();
        drop(held);
        let listed: String = peers.iter().map(|peer| format!("- {peer}\n")).collect();
        let stores = Vec::from_iter((0..3).map(|_| {
            let store = Store::new(REPLICATION);
            let text = fs::read_to_string(store.settings()).expect("settings");
            let text = text.replace("replicas: 1", "replicas: 3").replace("- 127.0.0.1:7401\n", &listed);
            fs::write(store.settings(), text).expect("settings");
            store
        }));
        let mut cluster = Cluster { also, stores, peers, members: vec![None, None, None] };
        for ordinal in 0..3 {
            cluster.members[ordinal] = Some(Process::start_unready(cluster.command(ordinal)));
        }
        for member in cluster.members.iter().flatten() {
            member.until("ready", || member.get_admin("/readyz").status == 200);
        }
        cluster
    }

    fn command(&self, ordinal: usize) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast-sidecar"));
        command
            .args(["--ordinal", &ordinal.to_string(), "--peer-address", &self.peers[ordinal].to_string()])
            .args(["--client-address", "127.0.0.1:0", "--admin-address", "127.0.0.1:0"])
            .arg("--settings")
            .arg(self.stores[ordinal].settings())
            .arg("--data")
            .arg(self.stores[ordinal].data())
            .args(self.also);
        command
    }

    /// Start a member again.
    pub(crate) fn restart(&mut self, ordinal: usize) {
        self.members[ordinal] = Some(Process::start(self.command(ordinal)));
    }

    /// Start a member again that will not be ready.
    pub(crate) fn restart_unready(&mut self, ordinal: usize) {
        self.members[ordinal] = Some(Process::start_unready(self.command(ordinal)));
    }

    pub(crate) fn data(&self, ordinal: usize) -> PathBuf {
        self.stores[ordinal].data()
    }

    pub(crate) fn member(&self, ordinal: usize) -> &Process {
        self.members[ordinal].as_ref().expect("it runs")
    }

    pub(crate) fn take(&mut self, ordinal: usize) -> Process {
        self.members[ordinal].take().expect("it runs")
    }

    /// Who leads, as all that run agree, and two that do not.
    pub(crate) fn roles(&self) -> (usize, Vec<usize>) {
        let mut leader = None;
        let one = self.members.iter().flatten().next().expect("one runs");
        one.until("agreed on a leader", || {
            let seen: Vec<_> = self
                .members
                .iter()
                .flatten()
                .map(|m| m.get("/v1/status").json()["leader"].as_u64())
                .collect();
            leader = seen[0];
            leader.is_some() && seen.iter().all(|seen| *seen == leader)
        });
        let leader = leader.expect("there is one") as usize;
        (leader, (0..3).filter(|&ordinal| ordinal != leader && self.members[ordinal].is_some()).collect())
    }
}

impl Process {
    /// Start, and wait until a write would be taken.
    pub(crate) fn start(command: Command) -> Process {
        let process = Process::start_unready(command);
        process.until("ready", || process.get_admin("/readyz").status == 200);
        process
    }

    /// Start, and wait until the ports are open.
    pub(crate) fn start_unready(mut command: Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        let stdin = child.stdin.take();
        let stderr = child.stderr.take().expect("a pipe");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().expect("no panic").push(line);
            }
        });
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut process = Process { child, stdin, log, client: nowhere, admin: nowhere };
        process.admin = process.port("admin");
        process.client = process.port("client");
        process
    }

    /// Start what must fail, and return its code and what it said last.
    pub(crate) fn fails(mut command: Command) -> (Option<i32>, String) {
        let output = command.stdin(Stdio::null()).output().expect("the program starts");
        let log = String::from_utf8(output.stderr).expect("text");
        assert!(!output.status.success(), "it should have failed: {log}");
        let last = log.lines().last().unwrap_or_default().to_owned();
        (output.status.code(), last)
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("no panic").clone()
    }

    pub(crate) fn logged(&self, text: &str) -> bool {
        self.log().iter().any(|line| line.contains(text))
    }

    pub(crate) fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + LONG;
        while !condition() {
            assert!(Instant::now() < deadline, "never {what}:\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn port(&self, name: &str) -> SocketAddr {
        let said = format!("the {name} port is open");
        self.until(&said, || self.logged(&said));
        let line = self.log().into_iter().find(|line| line.contains(&said)).expect("it was logged");
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        line["address"].as_str().expect("an address").parse().expect("an address")
    }

    /// Send a signal by its name, such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    /// Stop it where it is, as a machine that hangs would, until [`Process::unfreeze`]. Every thread stands still when
    /// this returns.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
        let threads = format!("/proc/{}/task", self.child.id());
        self.until("frozen", || {
            let mut threads = fs::read_dir(&threads).expect("it has threads").map_while(Result::ok);
            threads.all(|thread| {
                let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
                stat.rsplit_once(") ").is_some_and(|(_, state)| state.starts_with('T'))
            })
        });
    }

    pub(crate) fn unfreeze(&self) {
        self.signal("CONT");
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + LONG;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "it does not end:\n{}", self.log().join("\n"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Ask it to stop, and see that it does so in order.
    pub(crate) fn stop(mut self) -> Vec<String> {
        self.signal("TERM");
        let status = self.wait();
        assert_eq!(status.code(), Some(0), "{}", self.log().join("\n"));
        self.log()
    }

    /// Kill it as a power cut would, as far as a process can tell.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.wait();
    }

    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        ask(self.client, method, target, headers, body)
    }

    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask("GET", target, &[], b"")
    }

    pub(crate) fn put(&self, target: &str, body: &[u8]) -> Answer {
        self.ask("PUT", target, &[], body)
    }

    pub(crate) fn get_admin(&self, target: &str) -> Answer {
        ask(self.admin, "GET", target, &[], b"")
    }

    pub(crate) fn post_admin(&self, target: &str, body: &[u8]) -> Answer {
        ask(self.admin, "POST", target, &[], body)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request on a connection of its own.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut stream = send(address, method, target, headers, body);
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an answer");
    Answer::parse(&bytes)
}

/// Send a request and return the connection.
pub(crate) fn send(
    address: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("the port is open");
    stream.set_read_timeout(Some(LONG)).expect("a time limit");
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    let framed = ["transfer-encoding", "content-length"];
    if !headers.iter().any(|(name, _)| framed.contains(&name.to_ascii_lowercase().as_str())) {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).expect("the head goes out");
    // A server that has refused already may close: its answer says so.
    let _ = stream.write_all(body);
    stream
}

impl Answer {
    fn parse(bytes: &[u8]) -> Answer {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no head in {:?}", String::from_utf8_lossy(bytes)));
        let head = std::str::from_utf8(&bytes[..end]).expect("text");
        let mut lines = head.split("\r\n");
        let status = lines.next().expect("a status line").split(' ').nth(1).expect("a code");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        let answer = Answer {
            status: status.parse().expect("a number"),
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        };
        assert!(answer.headers.contains_key("x-request-id"), "every answer has an id: {answer:?}");
        answer
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("text")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The code of a problem; checks what every problem has.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let json = self.json();
        assert_eq!(json["status"], status);
        assert_eq!(json["requestId"], self.header("x-request-id"));
        for field in ["type", "title", "detail", "outcome"] {
            assert!(json[field].as_str().is_some_and(|text| !text.is_empty()), "{field} in {json}");
        }
        json["code"].as_str().expect("a code").to_owned()
    }
}

/// Reads the events of a watch.
pub(crate) struct Events(BufReader<TcpStream>);

/// One event.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) data: serde_json::Value,
}

impl Events {
    /// Open a watch, and read its first event.
    pub(crate) fn open(process: &Process, target: &str, headers: &[(&str, &str)]) -> (Events, Event) {
        let (events, started) = Events::begin(process, target, headers);
        assert_eq!(started.name, "started");
        (events, started)
    }

    /// Open any other stream, and read its first event.
    pub(crate) fn read(process: &Process, target: &str) -> (Events, Event) {
        Events::begin(process, target, &[])
    }

    fn begin(process: &Process, target: &str, headers: &[(&str, &str)]) -> (Events, Event) {
        let stream = send(process.client, "GET", target, headers, b"");
        let mut events = Events(BufReader::new(stream));
        let status = events.line().expect("a status line");
        assert!(status.contains(" 200 "), "{status}");
        while events.line().is_some_and(|line| !line.is_empty()) {}
        let first = events.next().expect("a first event");
        (events, first)
    }

    /// A line, without the frames that chunks come in; those are lines of their own.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).expect("a line in time");
        (read > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let mut event = Event::default();
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some(("id", id)) => event.id = id.to_owned(),
                Some(("event", name)) => event.name = name.to_owned(),
                Some(("data", data)) => event.data = serde_json::from_str(data).expect("JSON"),
                _ => {}
            }
            // An event ends with an empty line after its fields.
            if line.is_empty() && !event.data.is_null() {
                return Some(event);
            }
        }
    }
}

/// Whether a folder holds a file whose name ends so, at any depth; returns the first.
pub(crate) fn find(folder: &Path, ending: &str) -> Option<PathBuf> {
    let entries = fs::read_dir(folder).ok()?;
    let mut paths: Vec<_> = entries.map_while(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().find_map(|path| {
        if path.is_dir() {
            find(path, ending)
        } else {
            path.to_string_lossy().ends_with(ending).then(|| path.clone())
        }
    })
}
