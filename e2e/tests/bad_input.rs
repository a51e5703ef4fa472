//! What must not get in: each wrong thing gets a clear answer, nothing is lost by it and nothing hangs on it.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_api::http::{Problem, ProblemCode};
use holdfast_e2e::http::{Http, Outcome};
use holdfast_e2e::laptop::{Laptop, free_ports};
use holdfast_e2e::suite::{self, Test};
use holdfast_e2e::{programs, runtime, wait};
use reqwest::{Body, Method, RequestBuilder};
use tempfile::TempDir;

const TESTS: &[Test<Laptop>] = &[
    ("manifests_with_unknown_fields_are_refused", |_| unknown_fields()),
    ("manifests_that_contradict_themselves_are_refused", |_| contradictions()),
    ("keys_and_values_that_are_too_large_are_refused", too_large),
    ("requests_that_make_no_sense_are_refused", nonsense),
    ("malformed_frames_on_the_peer_port_disturb_nobody", malformed_frames),
    ("connections_that_say_nothing_disturb_nobody", silent_connections),
    ("a_taken_port_is_named", |_| taken_port()),
    ("a_data_folder_that_cannot_be_written_is_named", |_| unwritable_folder()),
    ("a_second_process_on_a_folder_is_refused", second_process),
    ("a_second_runner_on_a_folder_is_refused", second_runner),
    ("another_stores_folder_is_refused_and_stays_as_it_is", |_| foreign_folder("holdfast-other")),
    ("another_members_folder_is_refused_and_stays_as_it_is", |_| foreign_folder("orders")),
];

const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: orders}
spec: {replicas: 3}
";

/// How long a wrong start may take to fail. What hangs is killed then, and fails its test.
const FAILURE_WAIT_MAX: Duration = Duration::from_secs(30);

/// The largest key and the largest value that are taken.
const KEY_BYTES_MAX: usize = 4096;
const VALUE_BYTES_MAX: usize = 1024 * 1024;

fn main() -> ExitCode {
    suite::run(TESTS, || Laptop::up(MANIFEST), |store| healthy(&store))
}

/// The store still serves, by the processes that it began with.
fn healthy(store: &Laptop) -> anyhow::Result<()> {
    let http = Http::default();
    let outcome = runtime().block_on(http.put(&store.base(1), "health", "well"));
    ensure!(
        matches!(outcome, Outcome::Acknowledged { .. }),
        "the store does not serve any more: {outcome:?}"
    );
    let died = store.events("died");
    ensure!(died.is_empty(), "members died: {died:?}");
    Ok(())
}

fn unknown_fields() -> anyhow::Result<()> {
    let misspelt = MANIFEST.replace("replicas: 3", "replicas: 3, replicaz: 5");
    refused_manifest(&misspelt, &["replicaz"])?;
    let deeper = MANIFEST.replace("replicas: 3", "replicas: 3, heartbeat: {intervall: 1s}");
    refused_manifest(&deeper, &["intervall"])?;
    refused_manifest("not: [a store", &["store.yaml"])?;
    refused_manifest(&MANIFEST.replace("ReplicatedStore", "Deployment"), &["Deployment"])
}

fn contradictions() -> anyhow::Result<()> {
    for (spec, words) in [
        ("{replicas: 3, strategy: Baseline}", "replicas: 1"),
        ("{replicas: 3, strategy: Checkpointing}", "replicas: 1"),
        ("{replicas: 3, strategy: Replication, checkpoint: {interval: 1m}}", "checkpoint"),
        ("{replicas: 3, heartbeat: {interval: 100ms, timeout: 200ms}}", "timeout"),
        ("{replicas: 3, strategy: Hybrid, durability: Memory}", "Hybrid"),
        ("{replicas: 1, consensus: InSync}", "InSync"),
        ("{replicas: 3, minInSync: 2}", "minInSync"),
        ("{replicas: 8}", "7"),
    ] {
        refused_manifest(&MANIFEST.replace("{replicas: 3}", spec), &[words])?;
    }
    Ok(())
}

fn too_large(store: &mut Laptop) -> anyhow::Result<()> {
    let http = Http::default();
    let put = |key: usize, value: usize| {
        let url = format!("{}/v1/kv/{}", store.base(0), "k".repeat(key));
        http.raw().put(url).body(vec![b'v'; value])
    };
    for (key, value) in [(KEY_BYTES_MAX, 1), (1, VALUE_BYTES_MAX)] {
        let (status, _) = runtime().block_on(http.answer(put(key, value)))?;
        ensure!(status.is_success(), "the largest key or value ({key}, {value}) is refused: {status}");
    }
    for (key, value, code) in [
        (KEY_BYTES_MAX + 1, 1, ProblemCode::InvalidKey),
        (1, VALUE_BYTES_MAX + 1, ProblemCode::TooLarge),
        (1, 100 * VALUE_BYTES_MAX, ProblemCode::TooLarge),
    ] {
        // A body that is far too large may be cut off before its answer is read; then only that it ends counts.
        if let Ok((_, body)) = runtime().block_on(http.answer(put(key, value))) {
            problem(&body, code)?;
        }
    }
    // The length of a body in pieces is not known beforehand.
    let pieces = in_pieces(VALUE_BYTES_MAX / 1000, 1001);
    let request = http.raw().put(format!("{}/v1/kv/pieces", store.base(0))).body(pieces);
    if let Ok((_, body)) = runtime().block_on(http.answer(request)) {
        problem(&body, ProblemCode::TooLarge)?;
    }
    healthy(store)
}

fn nonsense(store: &mut Laptop) -> anyhow::Result<()> {
    let http = Http::default();
    let request = |method: Method, path: &str| http.raw().request(method, format!("{}{path}", store.base(2)));
    let put = |path: &str| request(Method::PUT, path).body("value");
    let get = |path: &str| request(Method::GET, path);
    let txn = |body: &'static str| {
        request(Method::POST, "/v1/txn").header("content-type", "application/json").body(body)
    };
    let cases: Vec<(&str, RequestBuilder, ProblemCode)> = vec![
        ("an empty key", put("/v1/kv/"), ProblemCode::RouteNotFound),
        ("an unknown parameter", put("/v1/kv/key?concern=2"), ProblemCode::BadRequest),
        ("an unknown concern", put("/v1/kv/key?w=some"), ProblemCode::BadRequest),
        ("a concern of too many", put("/v1/kv/key?w=7"), ProblemCode::ConcernTooHigh),
        ("a session without a sequence", put("/v1/kv/key?session=1"), ProblemCode::BadRequest),
        ("a tag without quotes", put("/v1/kv/key").header("if-match", "1"), ProblemCode::BadRequest),
        ("another revision", put("/v1/kv/key").header("if-match", "\"1\""), ProblemCode::PreconditionFailed),
        ("a missing key", get("/v1/kv/no-such-key"), ProblemCode::KeyNotFound),
        ("a negative limit", get("/v1/kv?limit=-1"), ProblemCode::BadRequest),
        ("a cursor of nobody", get("/v1/kv?cursor=%ff"), ProblemCode::BadRequest),
        ("a revision to come", get("/v1/kv/key?revision=99999999"), ProblemCode::FutureRevision),
        ("an unknown route", get("/v2/kv/key"), ProblemCode::RouteNotFound),
        ("an unknown method", request(Method::PATCH, "/v1/kv/key"), ProblemCode::MethodNotAllowed),
        ("half a transaction", txn("{"), ProblemCode::BadRequest),
        ("an unknown field", txn(r#"{"successs": []}"#), ProblemCode::BadRequest),
    ];
    for (words, request, code) in cases {
        let (status, body) = runtime().block_on(http.answer(request)).with_context(|| words.to_owned())?;
        ensure!(!status.is_success(), "{words} is taken");
        problem(&body, code).with_context(|| words.to_owned())?;
    }
    healthy(store)
}

fn malformed_frames(store: &mut Laptop) -> anyhow::Result<()> {
    let mut noise = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |bytes: usize| -> Vec<u8> {
        let next = |_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        };
        (0..bytes).map(next).collect()
    };
    let mut attacks: Vec<Vec<u8>> = (0..64).map(|size| random(size * 37)).collect();
    attacks.push(vec![0; 100]);
    attacks.push(vec![0xff; 1 << 20]);
    attacks.push(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec());
    // Lengths that lie, in both orders of bytes, with a few bytes behind them.
    for length in [u32::MAX, 1 << 31, 64 << 20, 1 << 20, 5] {
        attacks.push([&length.to_le_bytes()[..], &[1, 2, 3, 4, 5]].concat());
        attacks.push([&length.to_be_bytes()[..], &[1, 2, 3, 4, 5]].concat());
    }
    for member in 0..3 {
        for attack in &attacks {
            let mut connection = TcpStream::connect(("127.0.0.1", store.port(member) + 1))?;
            connection.set_read_timeout(Some(FAILURE_WAIT_MAX))?;
            // The member may close before it read everything.
            let _ = connection.write_all(attack);
            let _ = connection.shutdown(std::net::Shutdown::Write);
            let ended = connection.read_to_end(&mut Vec::new());
            let hangs = ended.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
            ensure!(
                !hangs,
                "member {member} keeps a connection that sent {} bytes of nonsense",
                attack.len()
            );
        }
    }
    healthy(store)
}

fn silent_connections(store: &mut Laptop) -> anyhow::Result<()> {
    let mut connections = Vec::new();
    for member in 0..3 {
        for port in 0..3 {
            for words in [&b""[..], b"GET /v1/status HTTP/1.1\r\nHost: ", b"\0\0"] {
                let mut connection = TcpStream::connect(("127.0.0.1", store.port(member) + port))?;
                connection.write_all(words)?;
                connections.push(connection);
            }
        }
    }
    healthy(store)?;
    drop(connections);
    Ok(())
}

fn taken_port() -> anyhow::Result<()> {
    let base = free_ports(3)?;
    let folder = tempfile::tempdir()?;
    // The client port of the second member.
    let taken = base + 10;
    let _listener = TcpListener::bind(("127.0.0.1", taken))?;
    let up = up(&folder, MANIFEST, &[format!("--port-base={base}")])?;
    says(&fails(up)?, &[&taken.to_string()])?;
    // One member by itself, as in a pod.
    let member = Member::new(&folder, "orders", base)?;
    let _listener = TcpListener::bind(("127.0.0.1", base + 2))?;
    says(&fails(member.command(0, &folder.path().join("m")))?, &[&(base + 2).to_string()])
}

fn unwritable_folder() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let base = free_ports(3)?;
    let file = folder.path().join("file");
    fs::write(&file, "not a folder")?;
    // Not even root can make a folder in these.
    for data in [file.join("data"), PathBuf::from("/proc/holdfast")] {
        let up =
            up(&folder, MANIFEST, &[format!("--port-base={base}"), format!("--data={}", data.display())])?;
        says(&fails(up)?, &[&data.to_string_lossy()])?;
        let member = Member::new(&folder, "orders", base)?;
        says(&fails(member.command(0, &data))?, &[&data.to_string_lossy()])?;
    }
    Ok(())
}

fn second_process(store: &mut Laptop) -> anyhow::Result<()> {
    let other = tempfile::tempdir()?;
    let member = Member::new(&other, "orders", free_ports(3)?)?;
    let data = member_data(store, 1);
    says(&fails(member.command(1, &data))?, &[&data.to_string_lossy(), "another process"])?;
    healthy(store)
}

fn second_runner(store: &mut Laptop) -> anyhow::Result<()> {
    let other = tempfile::tempdir()?;
    let data = store.folder().join("data");
    let arguments = [format!("--port-base={}", free_ports(3)?), format!("--data={}", data.display())];
    says(&fails(up(&other, MANIFEST, &arguments)?)?, &[&data.to_string_lossy()])?;
    healthy(store)
}

/// Start member 0 of the store `name` on the folder of member 1 of the store `orders`.
fn foreign_folder(name: &str) -> anyhow::Result<()> {
    let store = Laptop::up(MANIFEST)?;
    let http = Http::default();
    let outcome = runtime().block_on(http.put(&store.base(0), "key", "value"));
    ensure!(matches!(outcome, Outcome::Acknowledged { .. }), "{outcome:?}");
    let data = member_data(&store, 1);
    let (_, folder) = store.stop()?;
    let before = contents(&data)?;
    let member = Member::new(&folder, name, free_ports(3)?)?;
    let words = fails(member.command(0, &data))?;
    says(&words, &[&data.to_string_lossy()])?;
    if name != "orders" {
        says(&words, &["orders", name])?;
    }
    ensure!(contents(&data)? == before, "the folder was changed");
    let store = Laptop::up_in(folder, MANIFEST)?;
    store.wait_until_ready()?;
    let read = runtime().block_on(http.get(&store.base(1), "key"))?;
    ensure!(read.is_some(), "what was acknowledged is gone");
    Ok(())
}

/// A member that is started without a runner.
struct Member {
    programs: PathBuf,
    settings: PathBuf,
    base: u16,
}

impl Member {
    /// Write the settings of a three-member store into `folder`.
    fn new(folder: &TempDir, name: &str, base: u16) -> anyhow::Result<Member> {
        let programs = programs::build(&[programs::SIDECAR])?;
        let settings = folder.path().join("settings.yaml");
        let peers: Vec<String> =
            (0..3).map(|member| format!("127.0.0.1:{}", base + 10 * member + 1)).collect();
        let text = format!(
            "store: {{namespace: default, name: {name}}}
replicas: 3
strategy: Replication
consensus: Majority
durability: Disk
writeConcern: majority
heartbeat: {{interval: 100ms, timeout: 1s}}
peers: {peers:?}
"
        );
        fs::write(&settings, text)?;
        Ok(Member { programs, settings, base })
    }

    fn command(&self, ordinal: u16, data: &Path) -> Command {
        let mut command = Command::new(self.programs.join(programs::SIDECAR));
        command.arg(format!("--ordinal={ordinal}"));
        command.arg("--settings").arg(&self.settings).arg("--data").arg(data);
        for (port, name) in ["client", "peer", "admin"].iter().enumerate() {
            let port = self.base + 10 * ordinal + port as u16;
            command.arg(format!("--{name}-address=127.0.0.1:{port}"));
        }
        command
    }
}

fn member_data(store: &Laptop, member: u8) -> PathBuf {
    store.folder().join("data").join(store.store()).join(format!("member-{member}/data"))
}

/// A `holdfast up` of a manifest; its data go into `folder` unless the arguments say otherwise.
fn up(folder: &TempDir, manifest: &str, arguments: &[String]) -> anyhow::Result<Command> {
    let file = folder.path().join("store.yaml");
    fs::write(&file, manifest)?;
    let mut up = Command::new(programs::build(&[programs::HOLDFAST])?.join(programs::HOLDFAST));
    up.arg("up").arg("--file").arg(file).args(arguments).current_dir(folder.path());
    Ok(up)
}

/// Both commands that read a manifest refuse it, with these words, and leave nothing behind.
fn refused_manifest(manifest: &str, words: &[&str]) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let up = up(&folder, manifest, &[format!("--port-base={}", free_ports(3)?)])?;
    says(&fails(up)?, words).with_context(|| format!("up of {manifest}"))?;
    let left = contents(folder.path())?;
    ensure!(left.len() == 1, "it left something behind: {left:?}");
    let mut validate = Command::new(programs::build(&[programs::HOLDFAST])?.join(programs::HOLDFAST));
    validate.arg("validate").arg("--file").arg(folder.path().join("store.yaml"));
    says(&fails(validate)?, words).with_context(|| format!("validate of {manifest}"))
}

/// Run a command that must fail, and return everything that it said.
fn fails(mut command: Command) -> anyhow::Result<String> {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let ended = wait::until("a wrong start fails", FAILURE_WAIT_MAX, || child.try_wait()?.context("it runs"));
    if ended.is_err() {
        let _ = child.kill();
    }
    let Output { status, stdout, stderr } = child.wait_with_output()?;
    let words = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    ended.with_context(|| format!("{command:?} said: {words}"))?;
    ensure!(!status.success(), "{command:?} ended well: {words}");
    Ok(words)
}

fn says(words: &str, wanted: &[&str]) -> anyhow::Result<()> {
    for part in wanted {
        ensure!(words.contains(part), "{part:?} is missing in: {words}");
    }
    ensure!(!words.contains("panicked"), "it panicked: {words}");
    Ok(())
}

fn problem(body: &str, code: ProblemCode) -> anyhow::Result<()> {
    let problem: Problem =
        serde_json::from_str(body).with_context(|| format!("this is no problem: {body}"))?;
    ensure!(problem.code == code, "it is {:?}, not {code:?}: {body}", problem.code);
    ensure!(!problem.detail.is_empty() && !problem.request_id.is_empty(), "it does not say enough: {body}");
    Ok(())
}

/// The files below a folder, with what they hold.
fn contents(folder: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(contents(&path)?);
        } else {
            files.push((path.clone(), fs::read(&path)?));
        }
    }
    files.sort();
    Ok(files)
}

/// A body of so many pieces of so many bytes, whose length is not told.
fn in_pieces(pieces: usize, bytes: usize) -> Body {
    let piece = bytes::Bytes::from(vec![b'v'; bytes]);
    Body::wrap_stream(futures::stream::iter((0..pieces).map(move |_| Ok::<_, std::io::Error>(piece.clone()))))
}
