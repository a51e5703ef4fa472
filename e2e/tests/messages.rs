//! The message log on real processes: wrong requests, who may believe what, and stress while members are killed.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use holdfast_api::http::{AppendReply, Deduplication, LogSettings, MessagesReply, Problem, ProblemCode};
use holdfast_client::{AppendOptions, Client, Error, Followed, LogConsistency};
use holdfast_e2e::http::Http;
use holdfast_e2e::laptop::Laptop;
use holdfast_e2e::messages::Stress;
use holdfast_e2e::suite::{self, Test, note};
use holdfast_e2e::{runtime, wait};
use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::Signal;
use serde_json::{Value, json};

const TESTS: &[Test<()>] = &[
    ("wrong_requests_to_a_log_are_refused_and_leave_no_trace", |()| on_a_store(wrong_requests)),
    ("a_log_tells_messages_apart_by_its_setting", |()| on_a_store(deduplication)),
    ("a_log_is_read_page_by_page_followed_trimmed_and_deleted", |()| on_a_store(reading)),
    ("without_a_quorum_appends_are_refused_and_reads_go_on", |()| on_a_store(read_only)),
    ("the_command_line_appends_reads_and_follows", |()| on_a_store(command_line)),
    ("ten_thousand_messages_of_64_clients_survive_kills", |()| on_a_store(stress)),
];

const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: messages}
spec: {replicas: 3}
";

/// What is waited for happens within milliseconds; the machine may be compiling.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    suite::run(TESTS, || Ok(()), |()| Ok(()))
}

fn on_a_store(test: fn(&Laptop) -> anyhow::Result<()>) -> anyhow::Result<()> {
    test(&Laptop::up(MANIFEST)?)
}

fn stress(store: &Laptop) -> anyhow::Result<()> {
    let report = Stress { clients: 64, messages: 10_000 }.run(store)?;
    note(format_args!("{report}"));
    Ok(())
}

/// A request to a member, and what it answers.
struct Asking<'a> {
    http: Http,
    store: &'a Laptop,
}

impl Asking<'_> {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.raw().request(method, format!("{}{path}", self.store.base(1)))
    }

    fn answer(&self, request: RequestBuilder) -> anyhow::Result<(StatusCode, String)> {
        Ok(runtime().block_on(self.http.answer(request))?)
    }

    fn post(&self, path: &str, body: &Value) -> anyhow::Result<(StatusCode, String)> {
        self.answer(self.request(Method::POST, path).body(body.to_string()))
    }

    fn get(&self, path: &str) -> anyhow::Result<(StatusCode, String)> {
        self.answer(self.request(Method::GET, path))
    }

    /// Append a text to a log, which must succeed.
    fn append(&self, log: &str, text: &str) -> anyhow::Result<AppendReply> {
        let (status, body) = self.post(&format!("/v1/logs/{log}/messages"), &json!({"message": text}))?;
        ensure!(status == StatusCode::CREATED, "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    fn page(&self, path: &str) -> anyhow::Result<MessagesReply> {
        let (status, body) = self.get(path)?;
        ensure!(status == StatusCode::OK, "{status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }
}

fn asking(store: &Laptop) -> Asking<'_> {
    Asking { http: Http::default(), store }
}

/// A refusal with this code, whose `error` has these words.
fn refusal((status, body): (StatusCode, String), code: ProblemCode, words: &str) -> anyhow::Result<Problem> {
    let problem: Problem =
        serde_json::from_str(&body).with_context(|| format!("{status} is no problem: {body}"))?;
    ensure!(problem.code == code && status.as_u16() == code.status(), "{status} instead of {code}: {body}");
    let error = problem.error.as_deref().unwrap_or_default();
    ensure!(error.contains(words), "{words:?} is not in {error:?}");
    Ok(problem)
}

fn wrong_requests(store: &Laptop) -> anyhow::Result<()> {
    let asking = asking(store);
    let empty = asking.page("/messages")?;
    ensure!(empty.messages.is_empty() && (empty.first, empty.last) == (1, 0), "{empty:?}");
    for (body, words) in [
        (json!({}), "Message is required"),
        (json!([]), "Message is required"),
        (json!({"message": ""}), "Message is required"),
        (json!({"message": 7}), "Message must be a string"),
        (json!({"message": "a", "wait": 2}), "wait"),
        (json!({"message": "a", "timeout_ms": 0}), "timeout_ms"),
        (json!({"message": "a", "timeout_ms": "1s"}), "timeout_ms"),
    ] {
        refusal(asking.post("/messages", &body)?, ProblemCode::BadRequest, words)?;
    }
    for w in [json!(0), json!(4), json!(-1), json!(1.5), json!("most"), json!(true)] {
        let answer = asking.post("/messages", &json!({"message": "a", "w": w}))?;
        refusal(answer, ProblemCode::ConcernTooHigh, "Invalid write concern. Must be between 1 and 3")?;
    }
    let raw = |body: &'static str| asking.answer(asking.request(Method::POST, "/messages").body(body));
    refusal(raw("hello")?, ProblemCode::BadRequest, "not JSON")?;
    refusal(raw("")?, ProblemCode::BadRequest, "not JSON")?;
    let large = json!({"message": "x".repeat(1024 * 1024 + 1)});
    refusal(asking.post("/messages", &large)?, ProblemCode::TooLarge, "1048576 is the most")?;
    let twice = asking.post("/messages?w=2", &json!({"message": "a", "w": 2}))?;
    refusal(twice, ProblemCode::BadRequest, "both")?;
    let long = "k".repeat(257);
    let keyed = asking.request(Method::POST, "/messages").header("idempotency-key", long);
    refusal(asking.answer(keyed.body(r#"{"message": "a"}"#))?, ProblemCode::BadRequest, "Idempotency-Key")?;
    for (path, code) in [
        ("/messages?from=-1", ProblemCode::BadRequest),
        ("/messages?limit=100000", ProblemCode::BadRequest),
        ("/messages?read=maybe", ProblemCode::BadRequest),
        ("/messages/none", ProblemCode::BadRequest),
        ("/messages/0", ProblemCode::BadRequest),
        ("/messages/1", ProblemCode::MessageNotFound),
        ("/messages/stream?read=linearizable", ProblemCode::BadRequest),
        ("/v1/logs/nobody", ProblemCode::LogNotFound),
        ("/v1/logs/nobody/messages", ProblemCode::LogNotFound),
        ("/v1/logs/no%20body/messages", ProblemCode::InvalidLogName),
    ] {
        refusal(asking.get(path)?, code, "").with_context(|| path.to_owned())?;
    }
    let delete = asking.answer(asking.request(Method::DELETE, "/messages"))?;
    refusal(delete, ProblemCode::MethodNotAllowed, "GET, HEAD, POST")?;

    // Nothing of all that is there, and what was refused for another reason than being there can be sent again.
    ensure!(
        asking.page("/messages?read=linearizable")?.messages.is_empty(),
        "a refused request left a trace"
    );
    let (status, body) = asking.post("/messages", &json!({"message": "a", "w": 3}))?;
    ensure!(status == StatusCode::CREATED, "{status}: {body}");
    let reply: AppendReply = serde_json::from_str(&body)?;
    ensure!((reply.id, reply.sequence, reply.concern.members.as_slice()) == (1, 1, &[0, 1, 2]), "{body}");
    ensure!(reply.hash == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb", "{body}");
    let problem = refusal(
        asking.post("/messages", &json!({"message": "a", "w": 1}))?,
        ProblemCode::DuplicateMessage,
        "Duplicate message",
    )?;
    ensure!(problem.id == Some(1), "{problem:?}");
    refusal(
        asking.post("/messages", &json!({"message": "a", "w": 9}))?,
        ProblemCode::ConcernTooHigh,
        "between 1 and 3",
    )?;
    Ok(())
}

fn deduplication(store: &Laptop) -> anyhow::Result<()> {
    let asking = asking(store);
    let client = Client::new(store.bases())?.with_deadline(PATIENCE);
    let settings =
        |deduplication| LogSettings { deduplication: Some(deduplication), ..LogSettings::default() };
    let keyed = client.log("keyed");
    let with = |key: Option<&str>| AppendOptions { concern: None, key: key.map(str::to_owned) };
    runtime().block_on(async {
        keyed.configure(&settings(Deduplication::Key), None).await?;
        ensure!(keyed.append("same", with(None)).await?.id == 1, "the first");
        ensure!(keyed.append("same", with(None)).await?.id == 2, "without a key nothing is the same");
        ensure!(keyed.append("one", with(Some("k"))).await?.id == 3, "the first with a key");
        match keyed.append("one", with(Some("k"))).await {
            Err(Error::Refused(problem)) if problem.code == ProblemCode::DuplicateMessage => {
                ensure!(problem.id == Some(3), "{problem:?}");
            }
            other => anyhow::bail!("the key and its message again: {other:?}"),
        }
        match keyed.append("other", with(Some("k"))).await {
            Err(Error::Refused(problem)) if problem.code == ProblemCode::KeyReused => {
                ensure!(problem.status == 422 && problem.id == Some(3), "{problem:?}");
            }
            other => anyhow::bail!("the key with another message: {other:?}"),
        }
        let none = client.log("none");
        none.configure(&settings(Deduplication::None), None).await?;
        ensure!(none.append("same", with(None)).await?.id == 1, "the first");
        ensure!(none.append("same", with(None)).await?.id == 2, "nothing is the same");
        let state = keyed.state(LogConsistency::Linearizable).await?;
        ensure!(state.settings.deduplication == Some(Deduplication::Key) && state.last == 3, "{state:?}");
        Ok(())
    })?;
    // The same survives a restart of everybody.
    for member in 0..3 {
        store.signal(member, Signal::KILL)?;
    }
    store.wait_until_ready()?;
    let answer = asking.answer(
        asking
            .request(Method::POST, "/v1/logs/keyed/messages")
            .header("idempotency-key", "k")
            .body(r#"{"message": "one"}"#),
    )?;
    refusal(answer, ProblemCode::DuplicateMessage, "Duplicate message")?;
    Ok(())
}

fn reading(store: &Laptop) -> anyhow::Result<()> {
    let asking = asking(store);
    let client = Client::new(store.bases())?.with_deadline(PATIENCE);
    let log = client.log("orders");
    for number in 1..=5 {
        asking.append("orders", &format!("order {number}"))?;
    }
    let page = asking.page("/v1/logs/orders/messages?from=2&limit=2")?;
    let ids: Vec<u64> = page.messages.iter().map(|message| message.id).collect();
    ensure!((ids.as_slice(), page.next, page.last) == (&[2, 3], Some(4), 5), "{page:?}");
    ensure!(
        asking.page("/v1/logs/orders/messages?from=6&read=linearizable")?.messages.is_empty(),
        "past the end"
    );
    let (status, one) = asking.get("/v1/logs/orders/messages/3")?;
    ensure!(status == StatusCode::OK && one.contains("order 3"), "{one}");
    let (_, logs) = asking.get("/v1/logs?read=linearizable")?;
    ensure!(logs.contains("\"name\":\"orders\""), "{logs}");
    runtime().block_on(async {
        let mut follow = log.follow(Some(4));
        let mut texts = Vec::new();
        while texts.len() < 3 {
            if texts.len() == 2 {
                log.append("order 6", AppendOptions::default()).await?;
            }
            match tokio::time::timeout(PATIENCE, follow.next()).await?? {
                Followed::Message(message) => texts.push(message.message.unwrap_or_default()),
                undone => anyhow::bail!("{undone:?}"),
            }
        }
        ensure!(texts == ["order 4", "order 5", "order 6"], "{texts:?}");
        log.trim(3, None).await?;
        match log.read(1, None, LogConsistency::Linearizable).await {
            Err(Error::Refused(problem)) if problem.code == ProblemCode::MessageTrimmed => {
                ensure!(problem.id == Some(3), "{problem:?}");
            }
            other => anyhow::bail!("what is trimmed: {other:?}"),
        }
        let page = log.read(0, None, LogConsistency::Linearizable).await?;
        ensure!((page.first, page.messages.len()) == (3, 4), "{page:?}");
        log.delete(None).await?;
        let gone = tokio::time::timeout(PATIENCE, follow.next()).await?;
        ensure!(
            gone.is_err_and(|error| error.code() == Some(ProblemCode::LogNotFound)),
            "it is still followed"
        );
        Ok(())
    })?;
    refusal(asking.get("/v1/logs/orders?read=linearizable")?, ProblemCode::LogNotFound, "orders")?;
    Ok(())
}

fn read_only(store: &Laptop) -> anyhow::Result<()> {
    let asking = asking(store);
    asking.append("messages", "before")?;
    // A process that is stopped is not started again, and keeps its connections.
    for member in [0, 2] {
        store.signal(member, Signal::STOP)?;
    }
    let outcome = wait::until("an append is refused at once", PATIENCE, || {
        let begin = std::time::Instant::now();
        let text = format!("refused {}", begin.elapsed().as_nanos());
        let answer = asking.post("/messages", &json!({"message": text, "w": 2, "timeout_ms": 2000}))?;
        let problem = refusal(answer, ProblemCode::NoLeader, "read-only")?;
        ensure!(problem.retryable && problem.retry_after_ms.is_some(), "{problem:?}");
        ensure!(begin.elapsed() < Duration::from_secs(1), "it took {:?}", begin.elapsed());
        Ok(())
    });
    let page =
        asking.page("/messages").and_then(|local| Ok((local, asking.page("/messages?read=committed")?)));
    for member in [0, 2] {
        store.signal(member, Signal::CONT)?;
    }
    outcome?;
    let (local, committed) = page?;
    ensure!(local.messages[0].message.as_deref() == Some("before"), "{local:?}");
    ensure!(committed.messages.len() == 1, "{committed:?}");
    wait::until("appends are taken again", PATIENCE, || {
        asking.append("after", "again").map(drop).or_else(|error| {
            // A try that was not answered may have been taken.
            if error.to_string().contains("Duplicate") { Ok(()) } else { Err(error) }
        })
    })?;
    Ok(())
}

fn command_line(store: &Laptop) -> anyhow::Result<()> {
    let run = |verb: &[&str]| -> anyhow::Result<(i32, String, String)> {
        let output = store.cli(verb).output()?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Ok((output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr)))
    };
    let (code, out, err) = run(&["log", "append", "hello"])?;
    ensure!(
        code == 0 && out.starts_with("messages 1: members 0, 1, 2 have it, committed"),
        "{code} {out} {err}"
    );
    let (code, _, err) = run(&["log", "append", "hello"])?;
    ensure!(code == 1 && err.contains("DuplicateMessage"), "{code} {err}");
    let (code, out, _) = run(&["log", "append", "orders", "first", "--w=2", "--output=json"])?;
    let reply: AppendReply = serde_json::from_str(&out)?;
    ensure!(code == 0 && (reply.log.as_str(), reply.id) == ("orders", 1), "{out}");
    let (code, _, err) = run(&["log", "append", "orders", "second", "--w=4"])?;
    ensure!(code == 1 && err.contains("1 to 3"), "{code} {err}");
    let (code, out, _) = run(&["log", "read", "orders", "--read=linearizable"])?;
    ensure!(code == 0 && out.starts_with("1  ") && out.ends_with("  first\n"), "{out}");
    let (code, out, _) = run(&["log", "follow", "orders", "--from=0", "--count=1", "--output=json"])?;
    let message: Value = serde_json::from_str(&out)?;
    ensure!(code == 0 && message["message"] == "first", "{out}");
    let (code, _, err) = run(&["log", "read", "nobody"])?;
    ensure!(code == 1 && err.contains("LogNotFound"), "{code} {err}");
    Ok(())
}
