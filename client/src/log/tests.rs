//! Logs against a member that does what a script says.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::scripted::{Server, Step, StreamEnd};

const PATIENCE: Duration = Duration::from_secs(20);

async fn log(steps: impl IntoIterator<Item = Step>) -> (Server, Log) {
    let server = Server::start(steps).await;
    let client = Client::new([&server.endpoint]).expect("an address").with_deadline(PATIENCE);
    (server, client.log("orders"))
}

fn message_json(sequence: u64) -> String {
    format!(
        r#"{{"id":{sequence},"sequence":{sequence},"message":"m{sequence}","timestamp":"2023-11-14T22:13:20Z","hash":"ab","committed":true}}"#
    )
}

fn appended(sequence: u64, warning: &str) -> Step {
    let body = format!(
        r#"{{"id":{sequence},"sequence":{sequence},"message":"m","timestamp":"2023-11-14T22:13:20Z","hash":"ab","log":"orders",
            "concern":{{"requested":"all","reached":2,"members":[0,1]}},"committed":true,"durationMs":1.5{warning}}}"#
    );
    Step::Reply(if warning.is_empty() { 201 } else { 202 }, Vec::new(), body)
}

const SHORT: &str = r#","warning":"Only 1 of 2 replicas acknowledged in time""#;

#[tokio::test]
async fn an_append_says_what_was_asked_for() {
    let (server, log) = log([appended(7, "")]).await;
    let options = AppendOptions { concern: Some(WriteConcern::Members(2)), key: Some("order-7".to_owned()) };
    let reply = log.append("m", options).await.expect("appended");
    assert_eq!((reply.id, reply.concern.members), (7, vec![0, 1]));
    let seen = &server.seen()[0];
    assert!(seen.target.starts_with("/v1/logs/orders/messages?session="), "{}", seen.target);
    assert!(seen.target.contains("&sequence=1&timeout=19s7"), "{}", seen.target);
    assert_eq!(seen.body, r#"{"message":"m","w":2}"#);
    assert_eq!(seen.headers["idempotency-key"], "order-7");
    assert_eq!(seen.headers["content-type"], "application/json");
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_number() {
    let (server, log) = log([Step::Close, appended(7, "")]).await;
    assert_eq!(log.append("m", AppendOptions::default()).await.expect("appended").id, 7);
    let number = |which| (server.parameter(which, "session"), server.parameter(which, "sequence"));
    assert_eq!(number(0), number(1));
}

#[tokio::test]
async fn a_concern_that_is_not_reached_yet_is_waited_for_as_long_as_there_is_time() {
    let (server, log) = log([appended(7, SHORT), appended(7, SHORT), appended(7, "")]).await;
    let reply = log.append("m", AppendOptions::default()).await.expect("appended");
    assert_eq!(reply.warning, None);
    assert_eq!(server.seen().len(), 3);
    assert_eq!(server.parameter(0, "sequence"), server.parameter(2, "sequence"));
    // The next one has the next number: what was asked again was one write.
    log.append("n", AppendOptions::default()).await.expect("appended");
    assert_eq!(server.parameter(3, "sequence").as_deref(), Some("2"));
}

#[tokio::test]
async fn what_is_stored_and_short_of_its_concern_is_told_when_the_time_is_up() {
    let server = Server::start([appended(7, SHORT)]).await;
    let client =
        Client::new([&server.endpoint]).expect("an address").with_deadline(Duration::from_millis(700));
    let reply = client.messages().append("m", AppendOptions::default()).await.expect("stored");
    assert!(reply.warning.is_some_and(|warning| warning.starts_with("Only 1 of 2")));
}

#[tokio::test]
async fn a_duplicate_is_refused_and_uses_its_number() {
    let mut duplicate = Problem::new(ProblemCode::DuplicateMessage, "it is message 3", "r-1");
    duplicate.id = Some(3);
    let (server, log) = log([Step::refusal(duplicate), appended(7, "")]).await;
    match log.append("m", AppendOptions::default()).await {
        Err(Error::Refused(problem)) => assert_eq!(problem.id, Some(3)),
        other => panic!("{other:?}"),
    }
    log.append("n", AppendOptions::default()).await.expect("appended");
    assert_eq!(server.parameter(0, "session"), server.parameter(1, "session"));
    assert_eq!(server.parameter(1, "sequence").as_deref(), Some("2"));
}

#[tokio::test]
async fn a_page_says_where_to_go_on() {
    let body = format!(
        r#"{{"messages":[{}],"log":"orders","first":1,"last":9,"committed":8,"next":5}}"#,
        message_json(4)
    );
    let (server, log) = log([Step::Reply(200, Vec::new(), body)]).await;
    let page = log.read(4, Some(1), LogConsistency::Committed).await.expect("a page");
    assert_eq!((page.next, page.committed, page.messages[0].bytes()), (Some(5), 8, Ok(b"m4".as_slice())));
    let target = &server.seen()[0].target;
    assert!(target.starts_with("/v1/logs/orders/messages?from=4&read=committed"), "{target}");
    assert!(target.contains("&limit=1&timeout="), "{target}");
}

#[tokio::test]
async fn a_name_that_no_path_can_carry_is_refused() {
    let client = Client::new(["http://127.0.0.1:1"]).expect("an address");
    for name in ["", ".", ".."] {
        let error = client.log(name).append("m", AppendOptions::default()).await.expect_err("no log");
        assert_eq!(error.code(), Some(ProblemCode::InvalidLogName));
    }
}

fn started(from: u64) -> String {
    format!("event:started\ndata:{{\"from\":{from}}}\n\n")
}

fn event(sequence: u64) -> String {
    format!("data:{}\nid:{sequence}\n\n", message_json(sequence))
}

fn end(code: &str, resume: u64) -> String {
    format!("event:end\ndata:{{\"code\":\"{code}\",\"detail\":\"so\",\"resume\":{resume}}}\n\n")
}

async fn followed<const N: usize>(follow: &mut Follow) -> [u64; N] {
    let mut sequences = [0; N];
    for sequence in &mut sequences {
        match timeout(PATIENCE, follow.next()).await.expect("in time").expect("a message") {
            Followed::Message(message) => *sequence = message.sequence,
            undone => panic!("{undone:?}"),
        }
    }
    sequences
}

#[tokio::test]
async fn a_broken_stream_is_taken_up_where_it_broke() {
    let cut = event(5)[..20].to_owned();
    let first = Step::Stream(vec![started(4), event(4), cut], StreamEnd::Broken);
    let second = Step::Stream(vec![started(5), event(4), event(5), event(6)], StreamEnd::Open);
    let (server, log) = log([first, second]).await;
    let mut follow = log.follow(None);
    assert_eq!(followed(&mut follow).await, [4, 5, 6]);
    assert_eq!(follow.resume(), Some(7));
    assert_eq!(server.seen()[0].target, "/v1/logs/orders/messages/stream?read=committed");
    assert_eq!(server.parameter(1, "from").as_deref(), Some("5"));
}

#[tokio::test]
async fn a_stream_that_skips_is_not_believed() {
    let first = Step::Stream(vec![started(4), event(4), event(6)], StreamEnd::Open);
    let second = Step::Stream(vec![started(5), event(5), event(6)], StreamEnd::Open);
    let (_server, log) = log([first, second]).await;
    assert_eq!(followed(&mut log.follow(Some(4))).await, [4, 5, 6]);
}

#[tokio::test]
async fn what_is_undone_is_told_and_comes_again() {
    let undone = "event:undone\ndata:{\"from\":5}\n\n".to_owned();
    let stream = Step::Stream(vec![started(4), event(4), event(5), undone, event(5)], StreamEnd::Open);
    let (server, log) = log([stream]).await;
    let mut follow = log.follow_locally(Some(4));
    assert_eq!(followed(&mut follow).await, [4, 5]);
    assert_eq!(follow.next().await.expect("an event"), Followed::Undone { from: 5 });
    assert_eq!(followed(&mut follow).await, [5]);
    assert_eq!(server.parameter(0, "read").as_deref(), Some("local"));
}

#[tokio::test]
async fn lost_messages_are_an_error_and_a_stopping_member_is_not() {
    let first = Step::Stream(vec![started(2), event(2), end("ShuttingDown", 3)], StreamEnd::Open);
    let second = Step::Stream(vec![started(3), end("Trimmed", 40)], StreamEnd::Open);
    let third = Step::Stream(vec![started(40), event(40), end("LogDeleted", 1)], StreamEnd::Open);
    let (_server, log) = log([first, second, third]).await;
    let mut follow = log.follow(Some(2));
    assert_eq!(followed(&mut follow).await, [2]);
    assert_eq!(follow.next().await.expect_err("a gap").code(), Some(ProblemCode::MessageTrimmed));
    assert_eq!(follow.resume(), Some(40));
    assert_eq!(followed(&mut follow).await, [40]);
    assert_eq!(follow.next().await.expect_err("gone").code(), Some(ProblemCode::LogNotFound));
}
