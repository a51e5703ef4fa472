//! What a user of files is promised: uploaded once, found everywhere, repaired by itself.
//!
//! `cargo run -p holdfast-e2e --example files` is the long form of the test that kills members and spoils what they stored.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use holdfast_api::http::files::UploadReply;
use holdfast_api::names::PORT_STRIDE;
use holdfast_e2e::files::killing::{Killing, are_everywhere};
use holdfast_e2e::files::{self, Download, Upload, content, length, whole};
use holdfast_e2e::http::Http;
use holdfast_e2e::laptop::{Laptop, free_ports};
use holdfast_e2e::suite::{self, Test, note};
use holdfast_e2e::{runtime, wait};
use holdfast_xtask::{checkout, command};
use rustix::process::Signal;
use serde_json::Value;

/// The tests, from the quickest.
const TESTS: &[Test<()>] = &[
    ("names_are_data_and_ranges_are_checked", |()| names_and_ranges()),
    ("the_four_scenarios_of_the_guide", |()| four_scenarios()),
    ("an_upload_in_parts_goes_on_where_it_broke_off", |()| in_parts()),
    ("a_file_on_some_members_is_found_through_all", |()| placement()),
    ("a_copy_of_a_member_that_was_removed_gets_another_home", |()| removed()),
    ("an_upload_through_a_busy_member_goes_to_another_and_fails_over", |()| routed()),
    ("what_is_deleted_while_a_member_is_down_goes_there_too", |()| deleted_while_down()),
    ("flipped_bits_are_never_served_and_are_repaired", |()| flipped_bits()),
    ("killing_any_member_at_any_moment_while_bits_rot_loses_no_acknowledged_upload", |()| killing()),
];

/// How long something may take that takes seconds, on a machine that may be compiling.
const PATIENCE: Duration = Duration::from_secs(120);

/// Missing copies are looked for so often, unless the store says otherwise.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(30);

/// Files in the test that kills members. The long form is an example.
const FILES: usize = 200;

/// Clients that upload and download at a time.
const CLIENTS: usize = 4;

fn main() -> ExitCode {
    suite::run(TESTS, || Ok(()), |()| Ok(()))
}

fn three_members() -> anyhow::Result<Laptop> {
    let path = checkout().join("manifests/store-three-members.yaml");
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    Laptop::up(&manifest)
}

fn names_and_ranges() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    runtime().block_on(async {
        let long = "ö".repeat(2048);
        let names =
            ["../../../etc/passwd", "a\0b", "/", "größe 文件 🦀", "%2e%2e", "a?b#c&d=e", long.as_str()];
        for (seed, name) in names.into_iter().enumerate() {
            let bytes = content(seed, 200_000);
            let reply = files::must_put(&http, &store.base(0), name, bytes.clone()).await?;
            ensure!(reply.file_key == name, "{name:?} became {:?}", reply.file_key);
            for ordinal in 0..3 {
                let read = whole(files::get(&http, &store.base(ordinal), name).await)?;
                ensure!(read == bytes, "{name:?} is another at member {ordinal}");
            }
        }
        let too_long = "n".repeat(4097);
        let refused = files::put(&http, &store.base(0), &too_long, "x").await;
        ensure!(matches!(&refused, Upload::Otherwise(why) if why.starts_with("400")), "{refused:?}");
        let listed: BTreeSet<String> =
            files::list(&http, &store.base(1)).await?.into_iter().map(|file| file.file_key).collect();
        ensure!(listed == names.into_iter().map(str::to_owned).collect(), "listed: {listed:?}");

        // The catalogue is the store's own.
        let keys = http.list(&store.base(0), "").await?;
        ensure!(keys.is_empty(), "users see {keys:?}");
        for path in ["/v1/kv/%00files", "/v1/kv?prefix=%00", "/v1/watch?prefix=%00"] {
            let (status, body) = http.answer(http.raw().get(format!("{}{path}", store.base(0)))).await?;
            ensure!(status == 400 && body.contains("the store's own"), "{path}: {status} {body}");
        }

        let url = format!("{}/files/{}", store.base(2), files::encoded("%2e%2e"));
        let bytes = content(4, 200_000);
        for (range, expected) in [
            ("bytes=0-0", &bytes[..1]),
            ("bytes=131071-131073", &bytes[131_071..131_074]),
            ("bytes=199990-", &bytes[199_990..]),
            ("bytes=-7", &bytes[199_993..]),
        ] {
            let response = http.raw().get(&url).header("range", range).send().await?;
            ensure!(response.status() == 206, "{range}: {}", response.status());
            ensure!(response.bytes().await? == expected, "{range}");
        }
        let response = http.raw().get(&url).header("range", "bytes=200000-").send().await?;
        ensure!(response.status() == 416, "{}", response.status());
        let response = http.raw().head(&url).send().await?;
        let tag = response.headers().get("etag").context("there is no ETag")?.clone();
        ensure!(response.headers()["content-length"] == "200000", "{:?}", response.headers());
        let response = http.raw().get(&url).header("if-none-match", tag).send().await?;
        ensure!(response.status() == 304, "{}", response.status());
        let request = http.raw().put(&url).header("content-length", "99999999999999").body("x");
        let answer = http.answer(request).await;
        ensure!(answer.is_err() || answer.as_ref().is_ok_and(|(status, _)| *status == 413), "{answer:?}");
        Ok(())
    })
}

/// The sample of the guide on ports that are free, and those: of its three members, and of the naming service.
fn guide() -> anyhow::Result<(Laptop, [u16; 4])> {
    let path = checkout().join("manifests/files.yaml");
    let manifest =
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(manifest.contains("clientPorts: [8001, 8002, 8003, 8080]"), "clients know these ports");
    let first = free_ports(2)?;
    let ports = [first, first + 1, first + 2, first + PORT_STRIDE];
    let manifest = manifest.replace("[8001, 8002, 8003, 8080]", &format!("{ports:?}"));
    // The search for the members' own ports begins at the same place.
    let held = ports.iter().filter_map(|port| TcpListener::bind(("127.0.0.1", *port)).ok()).collect();
    Ok((Laptop::up_beside(held, &manifest)?, ports))
}

fn four_scenarios() -> anyhow::Result<()> {
    let (store, ports) = guide()?;
    let http = Http::default();
    let base = format!("http://127.0.0.1:{}", ports[0]);
    let naming = format!("http://127.0.0.1:{}", ports[3]);
    let health: Value = runtime().block_on(files::json(&http, &format!("{base}/health")))?;
    ensure!(health["status"] == "UP", "{health}");
    let upload = |name: &str, seed| {
        let url = format!("{base}/files");
        runtime().block_on(files::post(&http, &url, name, &content(seed, 300_000)))
    };
    // All are up.
    let all = upload("all.bin", 1)?;
    let replication = all.replication.context("there are no counts")?;
    ensure!((replication.successful, replication.failed) == (2, 0), "{replication:?}");
    let listed = runtime().block_on(files::list(&http, &naming))?;
    ensure!(listed[0].replicas == ["node-1", "node-2", "node-3"], "{listed:?}");

    // One is down.
    command::capture(&mut store.cli(&["fail", "1"]))?;
    wait::until("node-2 is seen to be down", PATIENCE, || {
        let nodes: Vec<Value> = runtime().block_on(files::json(&http, &format!("{base}/nodes")))?;
        ensure!(nodes[1]["status"] == "DOWN", "{nodes:?}");
        Ok(())
    })?;
    let mut names = Vec::new();
    for seed in 2..5 {
        let reply = upload(&format!("without-{seed}.bin"), seed)?;
        let replication = reply.replication.context("there are no counts")?;
        ensure!((replication.successful, replication.failed) == (1, 1), "{replication:?}");
        ensure!(replication.failed_nodes == ["node-2"], "{replication:?}");
        names.push((reply.file_id, seed));
    }
    let listed = runtime().block_on(files::list(&http, &base))?;
    let held = listed.iter().filter(|file| file.replicas == ["node-1", "node-3"]).count();
    ensure!(held == 3, "nobody else has said that it has them: {listed:?}");
    let queue = runtime().block_on(files::queue(&http, &base, "&status=PENDING&node_id=node-2"))?;
    ensure!(queue.count == 3 && queue.statistics.pending == 3, "{queue:?}");
    ensure!(queue.items.iter().all(|item| item.source_node_id.as_deref() == Some("node-1")), "{queue:?}");

    // Asking for the impossible says so, with counts.
    let reply = runtime().block_on(files::recover(&http, &base, "node-2"))?;
    ensure!((reply.total, reply.success, reply.failed) == (3, 0, 3), "{reply:?}");
    let nothing = runtime().block_on(files::recover(&http, &base, "node-3"))?;
    ensure!((nothing.message.as_str(), nothing.count) == ("no pending replications", 0), "{nothing:?}");

    // It is back: at once, and byte for byte.
    command::capture(&mut store.cli(&["start", "1"]))?;
    let (_, took) = wait::until("node-2 has all files", PATIENCE, || {
        let listed = runtime().block_on(files::list(&http, &base))?;
        ensure!(listed.iter().all(|file| file.replicas.len() == 3), "{listed:?}");
        Ok(())
    })?;
    note(format_args!("recovered {took:.1?} after the start of node-2"));
    ensure!(took <= RECOVERY_INTERVAL, "recovered later than the interval says");
    for (name, seed) in names {
        let read = whole(runtime().block_on(files::get(&http, &store.base(1), &name)))?;
        ensure!(read == content(seed, 300_000), "{name} is another at node-2");
    }
    let disks = [0, 1].map(|ordinal| files::on_disk(&store, ordinal));
    let names = disks.map(|disk| {
        disk.map(|paths| paths.iter().map(|path| path.file_name().map(ToOwned::to_owned)).collect::<Vec<_>>())
    });
    let [first, second] = names;
    ensure!(first? == second?, "the disks differ");
    let queue = runtime().block_on(files::queue(&http, &base, ""))?;
    ensure!(queue.statistics.pending == 0 && queue.statistics.completed == 3, "{queue:?}");

    // By hand: what was spoilt on the disk is counted when it is recovered.
    let spoilt = files::on_disk(&store, 1)?;
    spoilt.iter().try_for_each(std::fs::remove_file)?;
    let reply = runtime().block_on(files::recover(&http, &base, "node-2"))?;
    ensure!((reply.total, reply.success, reply.failed) == (4, 4, 0), "{reply:?}");
    ensure!(files::on_disk(&store, 1)?.len() == 4, "not all are back");
    Ok(())
}

fn in_parts() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    let url = format!("{}/files/large", store.base(1));
    let bytes = content(3, 3_000_000);
    let part = |range: &str, bytes: Bytes| -> anyhow::Result<(u16, String)> {
        let request = http.raw().put(&url).header("content-range", range.to_owned()).body(bytes);
        let response = runtime().block_on(async { request.send().await })?;
        let received = response.headers().get("range").map(|range| range.to_str().map(str::to_owned));
        Ok((response.status().as_u16(), received.transpose()?.unwrap_or_default()))
    };
    let first = "bytes=0-999999".to_owned();
    let answer = part("bytes 0-999999/3000000", bytes.slice(..1_000_000))?;
    ensure!(answer == (308, first.clone()), "{answer:?}");
    let answer = part("bytes 0-999999/3000000", bytes.slice(..1_000_000))?;
    ensure!(answer == (416, first.clone()), "the same part again: {answer:?}");
    let absent = runtime().block_on(files::get(&http, &store.base(0), "large"));
    ensure!(absent == Download::Absent, "it is there already");
    store.signal(1, Signal::KILL)?;
    let (answer, _) = wait::until("member 1 is back", PATIENCE, || part("bytes */3000000", Bytes::new()))?;
    ensure!(answer == (308, first), "after a kill: {answer:?}");
    store.wait_until_ready()?;
    let answer = part("bytes 1000000-2999999/3000000", bytes.slice(1_000_000..))?;
    ensure!(answer.0 == 200, "{answer:?}");
    let read = whole(runtime().block_on(files::get(&http, &store.base(0), "large")))?;
    ensure!(read == bytes, "it is another");
    Ok(())
}

fn placement() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    runtime().block_on(async {
        let url = format!("{}/files/some?replicas=2", store.base(1));
        let bytes = content(7, 500_000);
        let response = http.raw().put(&url).body(bytes.clone()).send().await?;
        ensure!(response.status() == 200, "{}", response.text().await?);
        for ordinal in 0..3 {
            let url = format!("{}/download/some", store.base(ordinal));
            let response = http.raw().get(&url).send().await?;
            let from =
                response.headers().get("x-routed-from").context("nobody says where it is from")?.clone();
            ensure!(response.bytes().await? == bytes, "another at member {ordinal}, from {from:?}");
        }
        let disks = (0..3).map(|ordinal| files::on_disk(&store, ordinal).map(|files| files.len()));
        let disks = disks.collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(disks[1] == 1 && disks.iter().sum::<usize>() == 2, "{disks:?}");
        let url = format!("{}/files/some?replicas=4", store.base(1));
        let response = http.raw().put(&url).body("x").send().await?;
        ensure!(response.status() == 400, "{}", response.status());
        Ok(())
    })
}

fn removed() -> anyhow::Result<()> {
    let path = checkout().join("manifests/store-three-members.yaml");
    let manifest = std::fs::read_to_string(&path)?.replace("replicas: 3", "replicas: 4");
    let store = Laptop::up(&manifest)?;
    let http = Http::default();
    let (count, length) = (40, 50_000);
    runtime().block_on(async {
        for seed in 0..count {
            let url = format!("{}/files/f{seed}?replicas=2", store.base((seed % 4) as u8));
            let response = http.raw().put(&url).body(content(seed, length)).send().await?;
            ensure!(response.status() == 200, "{}", response.text().await?);
        }
        anyhow::Ok(())
    })?;
    // Each has its quarter as the one that took it, and about as many for the others.
    let before = (0..4).map(|ordinal| Ok(files::on_disk(&store, ordinal)?.len()));
    let before = before.collect::<anyhow::Result<Vec<_>>>()?;
    note(format_args!("{count} files on two of four members each: {before:?}"));
    ensure!(
        before.iter().sum::<usize>() == 2 * count && before.iter().all(|&there| there > 10),
        "{before:?}"
    );

    std::fs::write(store.manifest(), manifest.replace("replicas: 4", "replicas: 3"))?;
    let (_, took) = wait::until("two of the members that stay have every file", PATIENCE, || {
        let listed = runtime().block_on(files::list(&http, &store.base(0)))?;
        let homeless = listed
            .iter()
            .filter(|file| file.replicas.len() != 2 || file.replicas.iter().any(|node| node == "node-4"));
        ensure!(listed.len() == count && homeless.clone().count() == 0, "{:?}", homeless.collect::<Vec<_>>());
        Ok(())
    })?;
    note(format_args!("member 3 was removed, and {took:.1?} later others had its copies"));
    for seed in 0..count {
        for ordinal in 0..3 {
            let read =
                whole(runtime().block_on(files::get(&http, &store.base(ordinal), &format!("f{seed}"))))?;
            ensure!(read == content(seed, length), "f{seed} is another at member {ordinal}");
        }
    }
    Ok(())
}

fn routed() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    let url = format!("{}/upload", store.base(2));
    let upload = |seed: usize| runtime().block_on(files::post(&http, &url, "a.bin", &content(seed, 700_000)));
    let check = |reply: UploadReply, seed: usize, expected: &[&str], copies: usize| {
        let selected = reply.selected_node.clone().context("nobody says who was selected")?;
        ensure!(expected.contains(&selected.as_str()) && reply.node_id == selected, "{reply:?}");
        ensure!(reply.routed_via.is_some() && reply.node_latency_ms.is_some(), "{reply:?}");
        let replication = reply.replication.context("there are no counts")?;
        ensure!((replication.successful, replication.failed) == (copies, 2 - copies), "{replication:?}");
        ensure!(!replication.successful_nodes.contains(&selected), "{replication:?}");
        let read = whole(runtime().block_on(files::get(&http, &store.base(2), &reply.file_id)))?;
        ensure!(read == content(seed, 700_000), "it is another");
        anyhow::Ok(())
    };
    check(upload(1)?, 1, &["node-3"], 2)?;

    // Uploads of clients that send nothing more keep it busy.
    let slow = |at: u8| {
        let mut socket = std::net::TcpStream::connect(("127.0.0.1", store.port(at)))?;
        socket.write_all(b"PUT /files/slow HTTP/1.1\r\nhost: a\r\ncontent-length: 99\r\n\r\nx")?;
        anyhow::Ok(socket)
    };
    let busy = (0..8).map(|_| slow(2)).collect::<anyhow::Result<Vec<_>>>()?;
    let (reply, _) = wait::until("somebody else takes it", PATIENCE, || {
        let reply = upload(2)?;
        ensure!(reply.selected_node.as_deref() != Some("node-3"), "{reply:?}");
        Ok(reply)
    })?;
    check(reply, 2, &["node-1", "node-2"], 2)?;
    let request = http.raw().post(&url).header("content-type", "multipart/form-data; boundary=xyz");
    let form =
        "--xyz\r\ncontent-disposition: form-data; name=\"file\"; filename=\"b\"\r\n\r\nb\r\n--xyz--\r\n";
    let response = runtime().block_on(async { request.body(form).send().await })?;
    ensure!(response.headers().contains_key("x-routed-from"), "{:?}", response.headers());

    // One of the others is as busy, and the third stands still: it is asked, says nothing, and the next is asked.
    let busier = (0..8).map(|_| slow(1)).collect::<anyhow::Result<Vec<_>>>()?;
    store.signal(0, Signal::STOP)?;
    let stopped = upload(3);
    drop(busier);
    let freed = wait::until("somebody takes it", PATIENCE, || upload(4));
    store.signal(0, Signal::CONT)?;
    note(format_args!("with everybody busy or stopped: {:?}", stopped.map(|reply| reply.selected_node)));
    check(freed?.0, 4, &["node-2", "node-3"], 1)?;
    drop(busy);
    Ok(())
}

fn deleted_while_down() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    let base = store.base(0);
    let bytes = content(9, 200_000);
    runtime().block_on(files::must_put(&http, &base, "gone", bytes.clone()))?;
    runtime().block_on(files::must_put(&http, &base, "stays", bytes.clone()))?;
    runtime().block_on(files::must_put(&http, &base, "other", content(10, 1000)))?;
    command::capture(&mut store.cli(&["fail", "2"]))?;
    for name in ["gone", "other"] {
        let (status, body) = runtime()
            .block_on(http.answer(http.raw().delete(format!("{base}/files/{name}"))))
            .context("no answer")?;
        ensure!(status == 200, "{status}: {body}");
    }
    let absent = runtime().block_on(files::get(&http, &store.base(1), "gone"));
    ensure!(absent == Download::Absent, "{absent:?}");
    wait::until("the disks of those that are there hold one file", PATIENCE, || {
        for ordinal in 0..2 {
            let there = files::on_disk(&store, ordinal)?;
            ensure!(there.len() == 1, "member {ordinal} holds {there:?}");
            let read = whole(runtime().block_on(files::get(&http, &store.base(ordinal), "stays")))?;
            ensure!(read == bytes, "what has the same bytes was spoilt at member {ordinal}");
        }
        Ok(())
    })?;
    command::capture(&mut store.cli(&["start", "2"]))?;
    wait::until("every disk holds one file", PATIENCE, || {
        for ordinal in 0..3 {
            let there = files::on_disk(&store, ordinal)?;
            ensure!(there.len() == 1, "member {ordinal} holds {there:?}");
        }
        Ok(())
    })?;
    let read = whole(runtime().block_on(files::get(&http, &store.base(2), "stays")))?;
    ensure!(read == bytes, "what has the same bytes was spoilt");
    Ok(())
}

fn flipped_bits() -> anyhow::Result<()> {
    let store = three_members()?;
    let http = Http::default();
    let count = 100;
    for seed in 0..count {
        let bytes = content(seed, length(seed).max(1));
        runtime().block_on(files::must_put(
            &http,
            &store.base((seed % 3) as u8),
            &format!("f{seed}"),
            bytes,
        ))?;
    }
    // One in a hundred of what each member has, and never the same file twice.
    let mut flipped = 0;
    for ordinal in 0..3u8 {
        let there = files::on_disk(&store, ordinal)?;
        for (place, path) in there.iter().enumerate().skip(usize::from(ordinal) * 7 + 3).step_by(50) {
            files::flip(path, place * 7919 + usize::from(ordinal))?;
            flipped += 1;
        }
    }
    for seed in 0..count {
        for ordinal in 0..3 {
            let read =
                whole(runtime().block_on(files::get(&http, &store.base(ordinal), &format!("f{seed}"))))?;
            ensure!(
                read == content(seed, length(seed).max(1)),
                "a wrong byte of f{seed} from member {ordinal}"
            );
        }
    }
    let (_, took) = wait::until("all copies are good again", PATIENCE, || {
        are_everywhere(&store, &http, count)?;
        are_alike(&store)
    })?;
    note(format_args!("{flipped} of {} copies were spoilt, and good again {took:.1?} later", 3 * count));
    Ok(())
}

/// All members have the same on their disks; of no file more than one copy was spoilt.
fn are_alike(store: &Laptop) -> anyhow::Result<()> {
    let folders = [0, 1, 2].map(|ordinal| files::on_disk(store, ordinal));
    let [first, second, third] = folders;
    let (first, second, third) = (first?, second?, third?);
    ensure!(first.len() == second.len() && first.len() == third.len(), "a disk has more than another");
    for ((first, second), third) in first.iter().zip(&second).zip(&third) {
        let read = |path: &std::path::Path| {
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
        };
        let good = read(first)?;
        ensure!(read(second)? == good && read(third)? == good, "{} differs", first.display());
    }
    Ok(())
}

fn killing() -> anyhow::Result<()> {
    let report = Killing { files: FILES, clients: CLIENTS }.run(&three_members()?)?;
    note(format_args!("{report}"));
    Ok(())
}
