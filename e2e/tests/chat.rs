//! The replicated chat as its users see it, on real processes: the contract of older clients, a crowd that loses nothing while leaders
//! are killed, three members that survive two, and the guide's scenario on two machines.

use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use futures::StreamExt as _;
use holdfast_chat::caller::{CallError, Caller};
use holdfast_chat::messages as chat;
use holdfast_chat::messages::path;
use holdfast_e2e::chat::demo::Demo;
use holdfast_e2e::chat::older::OlderClient;
use holdfast_e2e::chat::packets::{self, PacketClient};
use holdfast_e2e::chat::{self as under_test, Chat, receive, said};
use holdfast_e2e::faults::network::Network;
use holdfast_e2e::suite::{self, LeftOut, Test, note};
use holdfast_e2e::{laptop, runtime};
use rustix::process::Signal;
use tokio::time::timeout;

/// The tests, from the quickest.
const TESTS: &[Test<()>] = &[
    ("older_clients_find_the_calls_and_texts_that_they_know", |()| contract()),
    ("everything_is_there_after_all_servers_were_stopped", |()| stopped()),
    ("packet_clients_are_served_by_the_leader_and_go_on_after_it", |()| packets()),
    ("a_crowd_loses_nothing_while_leaders_are_killed", |()| crowd()),
    ("three_members_in_sync_survive_two_and_come_back", |()| in_sync()),
    ("the_demonstration_runs_from_a_pipe_and_leaves_nothing_behind", |()| piped()),
    ("the_guides_scenario_on_two_machines", |()| two_machines()),
];

/// How long something may take that takes milliseconds, on a machine that compiles beside it.
const PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    suite::run(TESTS, || Ok(()), |()| Ok(()))
}

/// Calls, texts and numbers without a session, as clients of before use them.
fn contract() -> anyhow::Result<()> {
    let under_test = Chat::up("chat.yaml")?;
    let servers = under_test.servers();
    runtime().block_on(async {
        let mut one = OlderClient::new(&servers[0])?;
        let mut other = OlderClient::new(&servers[3])?;
        let name = |name: &str| name.to_owned();
        for (user, text) in [("alice", "New account 'alice' created."), ("bob", "New account 'bob' created.")]
        {
            let request = chat::CreateAccountRequest { username: name(user), password_hash: name("ab12") };
            let reply: chat::CreateAccountResponse = one.call(path::CREATE_ACCOUNT, request).await?;
            ensure!(reply.success && reply.message == text, "{reply:?}");
        }
        let request = chat::CreateAccountRequest { username: name("bob"), password_hash: name("cd") };
        let reply: chat::CreateAccountResponse = other.call(path::CREATE_ACCOUNT, request).await?;
        ensure!(!reply.success && reply.message == "Username already exists.", "{reply:?}");
        let reply: chat::CreateAccountResponse =
            one.call(path::CREATE_ACCOUNT, chat::CreateAccountRequest::default()).await?;
        ensure!(reply.message == "Username or password not provided.", "{reply:?}");
        for (user, exists, text) in
            [("alice", true, "Username exists."), ("carol", false, "Username does not exist.")]
        {
            let request = chat::CheckUsernameRequest { username: name(user) };
            let reply: chat::CheckUsernameResponse = other.call(path::CHECK_USERNAME, request).await?;
            ensure!(reply.exists == exists && reply.message == text, "{reply:?}");
        }
        // Somebody waits at another server than the one that takes the message.
        let request = chat::SubscribeRequest { username: name("bob") };
        let mut events = other.stream::<_, chat::PushEvent>(path::SUBSCRIBE, request).await?;
        for (from, to, content, id, text) in [
            ("alice", "bob", "hi", 1, "Message sent to 'bob': hi"),
            ("alice", "carol", "hi", -1, "Recipient does not exist."),
            ("", "bob", "hi", -1, "Not logged in."),
            ("alice", "", "hi", -1, "Recipient or content missing."),
            ("alice", "bob", "", -1, "Recipient or content missing."),
            ("alice", "b*", "again", 2, "Message sent to 'bob': again"),
        ] {
            let request =
                chat::SendMessageRequest { username: name(from), to: name(to), content: name(content) };
            let reply: chat::SendMessageResponse = one.call(path::SEND_MESSAGE, request).await?;
            ensure!(reply.message == text && reply.id == id && reply.success == (id > 0), "{reply:?}");
        }
        for id in [1, 2] {
            let event = timeout(PATIENCE, events.next()).await.context("no push")?.context("it ended")??;
            ensure!(event.event_type == 1, "an event of type {}", event.event_type);
            let message = event.new_message.context("no message")?;
            ensure!(message.id == id && message.from_ == "alice" && message.to == "bob", "{message:?}");
        }
        for (user, password, text, unread) in [
            ("carol", "ab12", "No such user.", 0),
            ("bob", "ab13", "Incorrect password.", 0),
            ("bob", "ab12", "Logged in as 'bob'. Unread messages: 2.", 2),
        ] {
            let request = chat::LoginRequest { username: name(user), password_hash: name(password) };
            let reply: chat::LoginResponse = one.call(path::LOGIN, request).await?;
            ensure!(reply.message == text && reply.unread_count == unread, "{reply:?}");
        }
        let read = |partner: &str, page_size, page_num| chat::ReadMessagesRequest {
            username: name("bob"),
            page_size,
            page_num,
            chat_partner: name(partner),
        };
        let reply: chat::ReadMessagesResponse = one.call(path::READ_MESSAGES, read("", 1, 1)).await?;
        ensure!(reply.message == "Read unread messages." && reply.messages.len() == 1, "{reply:?}");
        ensure!((reply.total_unread, reply.remaining_unread, reply.remaining) == (2, 1, 1), "{reply:?}");
        let reply: chat::ReadMessagesResponse = other.call(path::READ_MESSAGES, read("alice", 10, 1)).await?;
        ensure!(reply.message == "Read conversation with alice." && reply.total_msgs == 2, "{reply:?}");
        let flags: Vec<(i32, bool)> =
            reply.messages.iter().map(|message| (message.id, message.read)).collect();
        ensure!(flags == [(1, true), (2, false)] && reply.remaining_unread == 0, "{reply:?}");
        let nobody = chat::ReadMessagesRequest::default();
        let reply: chat::ReadMessagesResponse = one.call(path::READ_MESSAGES, nobody).await?;
        ensure!(reply.message == "Please log in first.", "{reply:?}");
        let request = chat::ListAccountsRequest {
            username: name("bob"),
            pattern: name("*"),
            page_size: 1,
            page_num: 2,
        };
        let reply: chat::ListAccountsResponse = one.call(path::LIST_ACCOUNTS, request).await?;
        ensure!(reply.accounts == ["bob"] && reply.total_accounts == 2, "{reply:?}");
        let request = chat::DeleteMessageRequest { username: name("alice"), message_ids: vec![1, 77] };
        let reply: chat::DeleteMessageResponse = one.call(path::DELETE_MESSAGE, request).await?;
        ensure!(reply.message == "Deleted 1 messages.", "{reply:?}");
        let event = timeout(PATIENCE, events.next()).await.context("no push")?.context("it ended")??;
        ensure!(event.event_type == 2 && event.delete_message.is_some_and(|event| event.ids == [1]));
        let request = chat::DeleteMessageRequest { username: name("carol"), message_ids: vec![1] };
        let reply: chat::DeleteMessageResponse = one.call(path::DELETE_MESSAGE, request).await?;
        ensure!(reply.message == "User does not exist.", "{reply:?}");
        let request = chat::LogoutRequest { username: name("bob") };
        let reply: chat::LogoutResponse = one.call(path::LOGOUT, request).await?;
        ensure!(reply.message == "User 'bob' logged out.", "{reply:?}");
        let request = chat::DeleteAccountRequest { username: name("bob") };
        let reply: chat::DeleteAccountResponse = other.call(path::DELETE_ACCOUNT, request).await?;
        ensure!(reply.message == "Account 'bob' deleted.", "{reply:?}");
        let request = chat::CheckUsernameRequest { username: name("bob") };
        let reply: chat::CheckUsernameResponse = one.call(path::CHECK_USERNAME, request).await?;
        ensure!(!reply.exists, "{reply:?}");
        Ok(())
    })
}

/// Accounts, messages, what is unread: all of it survives a stop and a start.
fn stopped() -> anyhow::Result<()> {
    let chat = Chat::up("chat.yaml")?;
    let login = |chat: &Chat, user: &'static str| {
        let servers = chat.servers();
        runtime().block_on(async move {
            let mut caller = Caller::new(&servers)?.with_deadline(PATIENCE);
            let _ = caller.create_account(user, "secret").await;
            caller.log_in(user, "secret").await?;
            anyhow::Ok(caller)
        })
    };
    let (mut alice, _bob) = (login(&chat, "alice")?, login(&chat, "bob")?);
    runtime().block_on(async {
        for number in 0..25 {
            // As one sends again that has lost the answer, to another server.
            let mut again = alice.clone().beginning_at(2);
            let text = format!("text {number}");
            let (first, second) = (alice.send("bob", &text).await?, again.send("bob", &text).await?);
            ensure!(first == second, "sent once: {first:?}, and again: {second:?}");
        }
        anyhow::Ok(())
    })?;
    let chat = chat.again()?;
    let bob = login(&chat, "bob")?;
    runtime().block_on(async {
        // A session outlives the servers too, but not its end.
        let mut alice = alice.with_deadline(PATIENCE);
        alice.send("bob", "later").await?;
        alice.clone().log_out().await?;
        let refused = alice.send("bob", "too late").await;
        ensure!(matches!(refused, Err(CallError::Refused(_))), "{refused:?}");
        anyhow::Ok(())
    })?;
    let expected: Vec<_> =
        (0..25).map(|number| format!("text {number}")).chain(["later".to_owned()]).collect();
    let texts = runtime().block_on(receive(&bob, expected.len(), PATIENCE))?;
    ensure!(texts == expected, "{texts:?}");
    // What was handed out counts as read.
    let unread = runtime().block_on(async { bob.clone().read("", 10, 1, &[]).await })?;
    ensure!(unread.messages.is_empty() && unread.total_unread == 0, "{unread:?}");
    Ok(())
}

/// The protocol of older clients, before and after the leader's death.
fn packets() -> anyhow::Result<()> {
    let chat = Chat::up("chat-primary-backup.yaml")?;
    let mut alice = PacketClient::new(chat.packet_servers());
    let mut bob = PacketClient::new(chat.packet_servers());
    let check = |client: &mut PacketClient, operation, data: &str, expected: &str| {
        let text = client.ask(operation, data)?;
        ensure!(text == expected, "operation {operation} with {data:?}: {text:?} instead of {expected:?}");
        anyhow::Ok(())
    };
    check(&mut alice, 3, "", "<server> Operation not permitted. You are not logged in.")?;
    check(&mut alice, 0, "", "<server> List of accounts: []")?;
    check(&mut alice, 1, "", "<server> Failed to create account. Username cannot be empty.")?;
    check(&mut alice, 1, "a|b", "<server> Failed to create account. Username cannot have \" \" or \"|\".")?;
    check(&mut alice, 1, "alice", "<server> Account created with username \"alice\".")?;
    ensure!(alice.name == "alice", "it is called {:?}", alice.name);
    check(&mut bob, 1, "alice", "<server> Failed to create account. Username \"alice\" is already in use.")?;
    check(&mut bob, 2, "bob", "<server> Failed to login. Account \"bob\" not found.")?;
    check(
        &mut bob,
        2,
        "alice",
        "<server> Failed to login. Account \"alice\" is already logged in. You cannot log in to the same account from multiple \
         clients.",
    )?;
    check(&mut bob, 1, "bob", "<server> Account created with username \"bob\".")?;
    check(&mut bob, 0, "[", "<server> [ is not a valid regex pattern.")?;
    check(&mut bob, 0, "b.*", "<server> List of accounts: ['bob']")?;
    check(&mut alice, 5, "bob|hello there", "<server> Message sent to \"bob\".")?;
    ensure!(bob.receive()? == "<alice> hello there", "bob is told at once");
    check(&mut alice, 5, "carol|hi", "<server> Failed to send. Account \"carol\" does not exist.")?;
    check(&mut alice, 5, "nonsense", "<server> Invalid input: nonsense")?;
    check(&mut bob, 3, "", "<server> Account \"bob\" logged out.")?;
    ensure!(bob.name.is_empty(), "it is called {:?}", bob.name);
    for text in ["one", "two", "three"] {
        let data = format!("bob|{text}");
        check(&mut alice, 5, &data, "<server> Account \"bob\" not online. Message queued to send")?;
    }
    check(&mut bob, 2, "bob", "<server> Account \"bob\" logged in.")?;
    bob.send(6, "")?;
    let queued = bob.all()?;
    ensure!(queued == ["<alice> one", "<alice> two", "<alice> three"], "{queued:?}");
    check(&mut bob, 6, "", "<server> No messages queued")?;
    let leader = chat.store.leader(&holdfast_e2e::http::Http::default())?.member;
    for (server, ordinal) in chat.packet_servers().iter().zip(0u8..) {
        let expected =
            if ordinal == leader { (1, "Server is the leader") } else { (0, "Server is not leader") };
        let (operation, text) = packets::greeting(server)?;
        ensure!((operation, text.as_str()) == expected, "{ordinal} says {text:?} when {leader} leads");
    }
    // Another member leads: connections to the server beside the first one end, although that goes on.
    let next = (leader + 1) % 3;
    let admin = format!("http://127.0.0.1:{}/v1/leadership/transfer", chat.store.port(leader) + 2);
    let http = holdfast_e2e::http::Http::default();
    let asked = http.raw().post(admin).json(&serde_json::json!({ "to": next }));
    let (status, body) = runtime().block_on(async { http.answer(asked).await })?;
    ensure!(status == 200, "{status}: {body}");
    let ended = alice.receive().expect_err("nobody has written to alice");
    ensure!(format!("{ended:#}").contains("closed"), "{ended:#}");
    reconnected(&mut alice)?;
    reconnected(&mut bob)?;
    // The leader dies; both go on elsewhere, as who they were.
    let leader = next;
    chat.fail(leader)?;
    reconnected(&mut alice)?;
    reconnected(&mut bob)?;
    ensure!((alice.name.as_str(), bob.name.as_str()) == ("alice", "bob"), "they are not who they were");
    check(&mut alice, 5, "bob|still there?", "<server> Message sent to \"bob\".")?;
    ensure!(bob.receive()? == "<alice> still there?", "bob is told at once");
    check(&mut bob, 4, "", "<server> Account \"bob\" deleted.")?;
    check(&mut alice, 0, "", "<server> List of accounts: ['alice']")
}

/// Connects again, and waits until the server serves it: what it asks is answered in order, so it is attached by then.
fn reconnected(client: &mut PacketClient) -> anyhow::Result<()> {
    // The connection is broken, which such a client sees when it reads or sends.
    let _ = client.all();
    let served = holdfast_e2e::wait::until("a server that serves", PATIENCE, || {
        let text = client.ask(0, "")?;
        ensure!(text == "<server> List of accounts: ['alice', 'bob']", "{text}");
        Ok(())
    });
    served.map(drop)
}

/// Many users, while leaders die. One of them comes late, because its server's member is stopped when the others come.
fn crowd() -> anyhow::Result<()> {
    let chat = Chat::up("chat.yaml")?;
    let http = holdfast_e2e::http::Http::default();
    let late = (chat.store.leader(&http)?.member + 1) % 5;
    chat.store.signal(late, Signal::STOP)?;
    let mut crowd = chat.program("crowd");
    crowd.args(["--users=6", "--messages=120", "--pause-ms=50"]);
    let crowd = crowd.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("no crowd")?;
    std::thread::sleep(Duration::from_secs(2));
    chat.store.signal(late, Signal::CONT)?;
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(2));
        let leader = chat.store.leader(&http)?.member;
        chat.fail(leader)?;
        std::thread::sleep(Duration::from_secs(1));
        chat.start(leader)?;
    }
    let words = said(&crowd.wait_with_output()?)?;
    note(format_args!("{}", words.trim()));
    ensure!(words.contains("720 messages sent and 720 received"), "{words}");
    Ok(())
}

/// Two of three killed, one after the other; then the third; then all are back.
fn in_sync() -> anyhow::Result<()> {
    let chat = Chat::up("chat-primary-backup.yaml")?;
    let servers = chat.servers();
    let (mut alice, bob) = runtime().block_on(async {
        let mut alice = Caller::new(&servers)?.with_deadline(PATIENCE);
        let mut bob = alice.clone();
        alice.create_account("alice", "secret").await?;
        bob.create_account("bob", "secret").await?;
        alice.log_in("alice", "secret").await?;
        bob.log_in("bob", "secret").await?;
        anyhow::Ok((alice, bob))
    })?;
    let mut sent = Vec::new();
    let mut send = |text: &str| {
        sent.push(text.to_owned());
        runtime().block_on(alice.send("bob", text)).map(drop)
    };
    send("with three")?;
    let http = holdfast_e2e::http::Http::default();
    let first = chat.store.leader(&http)?.member;
    chat.fail(first)?;
    send("with two")?;
    let second = chat.store.leader(&http)?.member;
    ensure!(second != first, "member {first} is down");
    chat.fail(second)?;
    send("with one")?;
    let third = 3 - first - second;
    chat.fail(third)?;
    let output = chat.program("try").arg("--timeout=3").output()?;
    ensure!(!output.status.success(), "nobody is there, and all is well");
    // The last one has everything; the others catch up with it.
    for ordinal in [third, second, first] {
        chat.start(ordinal)?;
    }
    chat.store.wait_until_ready()?;
    send("with three again")?;
    let texts = runtime().block_on(receive(&bob, sent.len(), PATIENCE))?;
    ensure!(texts == sent, "{texts:?}");
    Ok(())
}

/// From a pipe: what goes well and what is expected to fail, and the code says so. Nothing runs after it.
fn piped() -> anyhow::Result<()> {
    let data = tempfile::tempdir()?;
    let place = Ports::free(data.path())?;
    let mut demo = Demo::start(&place.arguments(), None)?;
    demo.until("all members are online")?;
    let status = demo.tell("status", "5  ")?;
    ensure!(status.iter().any(|line| line.starts_with("2 ") && line.contains("leader")), "{status:?}");
    demo.tell("! fail 2", "(as expected)")?;
    demo.tell("test", "COMPLETED SUCCESSFULLY")?;
    let ended = demo.close()?;
    ensure!(ended.success(), "it ended with {ended}");
    ensure!(!runs_in(data.path())?, "something runs after it");
    // What is kept is there; what is not allowed is said, and the code says it too.
    let mut arguments = place.arguments();
    arguments.push("--skip-clear");
    let mut demo = Demo::start(&arguments, None)?;
    demo.until("all members are online")?;
    let lines = demo.tell("test", "COMPLETED SUCCESSFULLY")?;
    ensure!(lines.iter().any(|line| line.contains("alice exists")), "{lines:?}");
    demo.tell("fail 2", "needs --fail-leader")?;
    let ended = demo.close()?;
    ensure!(ended.code() == Some(1), "it ended with {ended}");
    // Ctrl-c ends everything too, and what is cleared is gone.
    let mut demo = Demo::start(&place.arguments(), None)?;
    demo.until("all members are online")?;
    let lines = demo.tell("test", "COMPLETED SUCCESSFULLY")?;
    ensure!(lines.iter().any(|line| line.contains("New account 'alice' created.")), "{lines:?}");
    demo.interrupt()?;
    ensure!(!runs_in(data.path())?, "something runs after it");
    Ok(())
}

/// Fail 3, test; start 3, fail 1 and 4, test; fail 5: no quorum; start again, test; fail who leads, test.
fn two_machines() -> anyhow::Result<()> {
    let id = Command::new("id").arg("-u").output().context("no id")?;
    if said(&id)?.trim() != "0" {
        bail!(LeftOut("network namespaces need root".to_owned()));
    }
    let network = Network::create(0, 2)?;
    let (first_ip, second_ip) = (Network::address(0), Network::address(1));
    let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
    let start = |id: usize, peer: &str| {
        let data = folders[id].path().to_string_lossy().into_owned();
        let id_text = (id + 1).to_string();
        let arguments =
            ["--machine-id", &id_text, "--peer-ip", peer, "--data", &data, "--fail-leader", "--timeout", "8"];
        Demo::start(&arguments, Some(&network.namespace(id as u8)))
    };
    let mut first = start(0, &second_ip)?;
    let mut second = start(1, &first_ip)?;
    first.until("all members are online")?;
    second.until("all members are online")?;
    let status = first.tell("status", "5  ")?;
    ensure!(status.iter().any(|line| line.starts_with("2 ") && line.contains("leader")), "{status:?}");
    ensure!(status.iter().filter(|line| line.contains("Remote")).count() == 3, "{status:?}");
    ensure!(status.iter().filter(|line| line.contains("Online")).count() == 5, "{status:?}");
    let passes = "COMPLETED SUCCESSFULLY";
    first.tell("! fail 3", "runs on the other machine")?;
    second.tell("fail 3", "member 3 was killed")?;
    first.tell("test", passes)?;
    second.tell("start 3", "member 3 is online")?;
    first.tell("fail 1", "member 1 was killed")?;
    second.tell("fail 4", "member 4 was killed")?;
    second.tell("test", passes)?;
    second.tell("fail 5", "member 5 was killed")?;
    let lines = first.tell("! test", "FAILED ===")?;
    ensure!(
        lines.iter().any(|line| line.contains("no quorum: 2 of 5 members run, and 3 are needed")),
        "{lines:?}"
    );
    second.tell("start 5", "member 5 ")?;
    second.tell("start 4", "member 4 ")?;
    first.tell("start 1", "member 1 ")?;
    first.tell("test", passes)?;
    // Member 2, unless somebody else took over while there was no quorum.
    let status = first.tell("status", "5  ")?;
    let leader = status.iter().find(|line| line.contains(" leader ")).context("nobody leads")?;
    let leader = leader.split_whitespace().next().context("an empty line")?.to_owned();
    let on_first = ["1", "2"].contains(&leader.as_str());
    let (there, other) = if on_first { (&mut first, &mut second) } else { (&mut second, &mut first) };
    there.tell(&format!("fail {leader}"), &format!("member {leader}, which led, was killed"))?;
    other.tell("test", passes)?;
    let status = other.tell("status", "5  ")?;
    let failed = format!("{leader} ");
    ensure!(status.iter().any(|line| line.starts_with(&failed) && line.contains("Offline")), "{status:?}");
    ensure!(status.iter().any(|line| line.contains("leader")), "{status:?}");
    for demo in [&mut first, &mut second] {
        let ended = demo.close()?;
        ensure!(ended.success(), "it ended with {ended}");
    }
    for folder in &folders {
        ensure!(!runs_in(folder.path())?, "something runs after it");
    }
    Ok(())
}

/// Where a demonstration of a test is.
struct Ports {
    data: String,
    base: String,
    chat: String,
}

impl Ports {
    fn free(data: &Path) -> anyhow::Result<Ports> {
        Ok(Ports {
            data: data.to_string_lossy().into_owned(),
            base: laptop::free_ports(5)?.to_string(),
            chat: under_test::free_ports(5, 1)?.to_string(),
        })
    }

    fn arguments(&self) -> Vec<&str> {
        vec!["--data", &self.data, "--port-base", &self.base, "--chat-port", &self.chat]
    }
}

/// Whether a process has files of this folder open: members have their logs, servers theirs.
fn runs_in(folder: &Path) -> anyhow::Result<bool> {
    for process in std::fs::read_dir("/proc")?.flatten() {
        for file in std::fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            if std::fs::read_link(file.path()).is_ok_and(|to| to.starts_with(folder)) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}
