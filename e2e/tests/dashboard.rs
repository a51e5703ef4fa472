//! What a person sees of a store: the dashboard in a real browser, with real members that are killed. Pictures are left in
//! `target/tmp/dashboard`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use holdfast_e2e::browser::{Browser, FORWARDED, Screen};
use holdfast_e2e::http::Http;
use holdfast_e2e::laptop::Laptop;
use holdfast_e2e::load::Load;
use holdfast_e2e::runtime;
use holdfast_e2e::suite::{self, LeftOut, Test, note};
use holdfast_xtask::{checkout, command, packages};
use reqwest::StatusCode;
use serde_json::{Value, json};

const TESTS: &[Test<Watched>] = &[
    ("a_members_page_shows_the_members_and_breaks_no_rule", members_page),
    ("through_a_forwarded_port_the_page_shows_all_and_links_nowhere", forwarded_page),
    ("writes_show_in_throughput_and_latency", writes_show),
    ("files_and_messages_are_listed", files_and_messages),
    ("a_phone_and_a_dark_room_are_thought_of", screens),
    ("a_kill_shows_within_two_seconds_on_another_members_page", kill_shows),
    ("a_killed_members_page_says_so_at_once_and_comes_back", killed_members_page),
    ("the_runners_page_kills_starts_and_recovers", runners_page),
    ("the_runners_page_goes_on_when_the_leader_dies", leader_dies),
    ("orders_from_elsewhere_are_refused", orders_from_elsewhere),
];

const MANIFEST: &str = "apiVersion: holdfast.dev/v1alpha1
kind: ReplicatedStore
metadata: {name: orders}
spec: {replicas: 3, strategy: Hybrid, checkpoint: {interval: 5s, retain: 2}}
";

/// What the issue promises: so long after a kill the page of another member shows it.
const SEEN_TIME_MAX: Duration = Duration::from_secs(2);

/// How long something may take that takes a second, on a machine that may be compiling.
const PATIENCE: Duration = Duration::from_secs(60);

const DESK: Screen = Screen { width: 1280, height: 900, dark: false };
const PHONE: Screen = Screen { width: 360, height: 740, dark: false };

fn main() -> ExitCode {
    suite::run(TESTS, Watched::start, |_| Ok(()))
}

/// A store, and a browser that looks at it.
struct Watched {
    browser: Browser,
    store: Laptop,
    http: Http,
    pictures: PathBuf,
}

impl Watched {
    fn start() -> anyhow::Result<Watched> {
        packages::ensure(packages::BROWSER).map_err(|error| LeftOut(format!("{error:#}")))?;
        let store = Laptop::up(MANIFEST)?;
        let pictures = checkout().join("target/tmp/dashboard");
        std::fs::create_dir_all(&pictures)?;
        let mut browser = Browser::start()?;
        browser.screen(DESK)?;
        Ok(Watched { browser, store, http: Http::default(), pictures })
    }

    /// Open the page that a member serves, and wait until it shows the store.
    fn open_member(&mut self, ordinal: u8) -> anyhow::Result<()> {
        let url = format!("{}/dashboard", self.store.base(ordinal));
        self.open(&url)
    }

    fn open_runner(&mut self) -> anyhow::Result<()> {
        let url = self.runner()?;
        self.open(&url)
    }

    fn open(&mut self, url: &str) -> anyhow::Result<()> {
        self.browser.go(url)?;
        self.browser.until(&format!("{MEMBERS}.length === 3 && {HEALTHS}"), PATIENCE)?;
        Ok(())
    }

    /// Where the runner's page is.
    fn runner(&self) -> anyhow::Result<String> {
        let events = self.store.events("dashboard");
        Ok(events
            .last()
            .and_then(|event| event["url"].as_str())
            .context("the runner has no page")?
            .to_owned())
    }

    fn order(&self, verb: &str, ordinal: u8) -> anyhow::Result<()> {
        let name = format!("{}-{ordinal}", self.store.store());
        command::capture(&mut self.store.cli(&[verb, &name])).map(drop)
    }

    /// Start a member again, and wait until all is well.
    fn restore(&self, ordinal: u8) -> anyhow::Result<()> {
        self.order("start", ordinal)?;
        self.store.wait_until_ready().map(drop)
    }

    fn picture(&mut self, name: &str) -> anyhow::Result<Vec<u8>> {
        let file = self.pictures.join(format!("{name}.png"));
        self.browser.picture(&file)
    }

    fn is_quiet(&mut self) -> anyhow::Result<()> {
        let complaints = self.browser.complaints()?;
        ensure!(complaints.is_empty(), "the page complains: {complaints:?}");
        Ok(())
    }
}

/// The rows of members.
const MEMBERS: &str = "document.querySelectorAll('#members-table tbody tr')";

/// Whether all of them are healthy.
const HEALTHS: &str =
    "[...document.querySelectorAll('[data-label=Health]')].every((cell) => cell.textContent === 'healthy')";

/// What a member's row says in a column.
fn cell(ordinal: u8, column: &str) -> String {
    format!(
        "document.querySelector('#members-table tr[data-key=\"{ordinal}\"] [data-label=\"{column}\"]').textContent"
    )
}

/// What a tile says.
fn tile(name: &str) -> String {
    format!(
        "[...document.querySelectorAll('#tiles dt')].find((dt) => dt.textContent === '{name}').nextSibling.textContent"
    )
}

/// How often the history says this of a member.
fn happened(what: &str, member: &str) -> String {
    format!(
        "[...document.querySelectorAll('#history-table tbody tr')].filter((row) => row.textContent.includes('{what}') && row.textContent.includes('{member}')).length"
    )
}

/// Whether the page says that something does not answer.
const TROUBLE: &str = "!document.getElementById('trouble').hidden";

fn members_page(on: &mut Watched) -> anyhow::Result<()> {
    on.open_member(0)?;
    let leader = on.store.wait_until_ready()?.member;
    for ordinal in 0..3 {
        let name = on.browser.evaluate(&format!("{MEMBERS}[{ordinal}].querySelector('th').textContent"))?;
        let expected =
            if ordinal == 0 { "orders-0this view".to_owned() } else { format!("orders-{ordinal}") };
        ensure!(name == json!(expected), "{name}, not {expected}");
        let role = on.browser.evaluate(&cell(ordinal, "Role"))?;
        ensure!((role == "leader") == (ordinal == leader), "{ordinal} is {role}, {leader} leads");
    }
    // Members tell each other where their clients connect within seconds.
    let address = on.store.base(2).replace("http://", "");
    on.browser.until(&format!("{} === '{address}'", cell(2, "Clients at")), PATIENCE)?;
    on.browser.until(&format!("{} > 0", happened("leads", &format!("orders-{leader}"))), PATIENCE)?;
    on.is_quiet()?;
    on.picture("member-light")?;
    // What would be found if there were something to find.
    on.browser.evaluate("document.body.setAttribute('style', 'margin: 1px')")?;
    ensure!(
        !on.browser.complaints()?.is_empty(),
        "an inline style is against the page's policy and nobody says so"
    );
    files_of_the_page(on)
}

/// The page's files as they are served.
fn files_of_the_page(on: &Watched) -> anyhow::Result<()> {
    let url = format!("{}/dashboard/dashboard.js", on.store.base(1));
    runtime().block_on(async {
        let answer = on.http.raw().get(&url).send().await?.error_for_status()?;
        let header = |name: &str| {
            answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
        };
        ensure!(header("content-type").starts_with("text/javascript"), "{}", header("content-type"));
        ensure!(header("x-content-type-options") == "nosniff", "it may be sniffed");
        ensure!(
            header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"),
            "no policy"
        );
        let again = on.http.raw().get(&url).header("if-none-match", header("etag")).send().await?;
        ensure!(again.status() == StatusCode::NOT_MODIFIED, "{} is sent again: {}", url, again.status());
        Ok(())
    })
}

fn forwarded_page(on: &mut Watched) -> anyhow::Result<()> {
    let links = "document.querySelectorAll('#members-table a').length";
    let note = "document.getElementById('elsewhere')";
    on.open_member(0)?;
    on.browser.until(&format!("{links} === 2 && {note}.hidden"), PATIENCE)?;
    let port = on.store.port(0);
    on.open(&format!("http://{FORWARDED}:{port}/dashboard"))?;
    let command =
        format!("kubectl port-forward --namespace default pod/orders-1 {port}:{}", on.store.port(1));
    on.browser.until(&format!("!{note}.hidden && {note}.textContent.endsWith('{command}')"), PATIENCE)?;
    let linked = on.browser.evaluate(links)?;
    ensure!(linked == json!(0), "{linked} members are linked where no link leads");
    // Where clients inside reach them is shown all the same.
    let address = on.store.base(2).replace("http://", "");
    on.browser.until(&format!("{} === '{address}'", cell(2, "Clients at")), PATIENCE)?;
    on.picture("forwarded-light")?;
    on.is_quiet()?;
    // When the member does not answer any more, what leads on is the command.
    on.order("fail", 0)?;
    on.browser.until(TROUBLE, SEEN_TIME_MAX)?;
    let said = on.browser.evaluate("document.getElementById('trouble').textContent")?;
    ensure!(said.as_str().is_some_and(|said| said.contains(&command)), "it says {said}");
    on.restore(0)?;
    on.browser.until(&format!("!({TROUBLE}) && {HEALTHS}"), PATIENCE)?;
    // That a request failed is in the browser's console.
    on.browser.complaints().map(drop)
}

fn writes_show(on: &mut Watched) -> anyhow::Result<()> {
    let leader = on.store.wait_until_ready()?.member;
    on.open_member(leader)?;
    let load = Load::start(&on.store.bases(), "dashboard/", 2);
    let number = format!("Number({}.replace(/[^0-9.]/g, ''))", tile("Throughput"));
    on.browser.until(&format!("{number} > 0"), PATIENCE)?;
    on.browser.until(&format!("/[0-9] (ms|µs)/.test({})", tile("Commit latency")), PATIENCE)?;
    // Both charts draw something: a canvas that is not empty.
    on.browser.until("document.querySelectorAll('.chart canvas').length === 2", PATIENCE)?;
    std::thread::sleep(Duration::from_secs(3));
    on.picture("leader-light")?;
    let shown = on.browser.evaluate(&tile("Throughput"))?;
    note(format_args!("throughput {shown} after {} acknowledged writes", load.acknowledged()));
    drop(load);
    on.browser.until(&format!("{} === '0 /s'", tile("Throughput")), PATIENCE)?;
    on.is_quiet()
}

fn files_and_messages(on: &mut Watched) -> anyhow::Result<()> {
    runtime().block_on(async {
        let put = format!("{}/files/picture%20%3Cb%3E.png", on.store.base(0));
        on.http.raw().put(put).body(vec![7; 5000]).send().await?.error_for_status()?;
        let append = format!("{}/messages", on.store.base(0));
        on.http.raw().post(append).json(&json!({"message": "hello"})).send().await?.error_for_status()?;
        let checkpoint = format!("http://127.0.0.1:{}/v1/checkpoint", on.store.port(0) + 2);
        on.http.raw().post(checkpoint).send().await?.error_for_status().map(drop)
    })?;
    on.open_member(0)?;
    // A name is text, whatever it looks like.
    on.browser.until(
        "document.querySelector('#files-table tbody')?.innerText.includes('picture <b>.png') && \
         document.querySelector('#files-table tbody').innerText.includes('3 of 3') && \
         document.querySelector('#logs-table tbody')?.innerText.includes('messages') && \
         document.getElementById('checkpoint').innerText.includes('entry')",
        PATIENCE,
    )?;
    on.is_quiet()
}

fn screens(on: &mut Watched) -> anyhow::Result<()> {
    on.open_member(0)?;
    on.browser.screen(PHONE)?;
    std::thread::sleep(Duration::from_secs(1));
    let wide = on.browser.evaluate("document.documentElement.scrollWidth - innerWidth")?;
    ensure!(wide.as_i64().is_some_and(|wide| wide <= 0), "a phone would scroll sideways by {wide} pixels");
    let light = on.picture("phone-light")?;
    on.browser.screen(Screen { dark: true, ..PHONE })?;
    std::thread::sleep(Duration::from_secs(1));
    let dark = on.picture("phone-dark")?;
    ensure!(light != dark, "a dark page looks like a light one");
    let background = "getComputedStyle(document.body).backgroundColor";
    let dark = on.browser.evaluate(background)?;
    on.browser.screen(Screen { dark: true, ..DESK })?;
    on.picture("member-dark")?;
    on.browser.screen(DESK)?;
    ensure!(on.browser.evaluate(background)? != dark, "both have the background {dark}");
    on.is_quiet()
}

fn kill_shows(on: &mut Watched) -> anyhow::Result<()> {
    on.open_member(0)?;
    let before = on.browser.evaluate(&happened("lost", "orders-2"))?;
    let killed = Instant::now();
    on.order("fail", 2)?;
    // From before the order, so that what is measured is no less than what there was.
    on.browser.until(&format!("{} !== 'healthy'", cell(2, "Health")), SEEN_TIME_MAX)?;
    let took = killed.elapsed();
    on.browser.until(&format!("{} > {before}", happened("lost", "orders-2")), SEEN_TIME_MAX)?;
    on.picture("killed-light")?;
    note(format_args!("seen {:.2} s after the order to kill", took.as_secs_f64()));
    ensure!(took <= SEEN_TIME_MAX, "the kill showed after {took:?}, not within {SEEN_TIME_MAX:?}");
    on.is_quiet()?;
    on.restore(2)?;
    on.browser.until(HEALTHS, PATIENCE).map(drop)
}

fn killed_members_page(on: &mut Watched) -> anyhow::Result<()> {
    on.open_member(1)?;
    let links = "[...document.querySelectorAll('#trouble a')].map((a) => a.href).join(' ')";
    on.browser.until(&format!("{} !== '–'", cell(2, "Clients at")), PATIENCE)?;
    let killed = Instant::now();
    on.order("fail", 1)?;
    on.browser.until(TROUBLE, SEEN_TIME_MAX)?;
    note(format_args!("said {:.2} s after the order to kill", killed.elapsed().as_secs_f64()));
    let links = on.browser.evaluate(links)?;
    let expected = format!("{0}/dashboard {1}/dashboard", on.store.base(0), on.store.base(2));
    ensure!(links == json!(expected), "it leads to {links}");
    on.picture("silent-light")?;
    on.restore(1)?;
    on.browser.until(&format!("!({TROUBLE}) && {HEALTHS}"), PATIENCE)?;
    // That a request failed is in the browser's console.
    on.browser.complaints().map(drop)
}

fn runners_page(on: &mut Watched) -> anyhow::Result<()> {
    let leader = on.store.wait_until_ready()?.member;
    let member = (leader + 1) % 3;
    on.open_runner()?;
    // It looks through the leader by itself.
    on.browser
        .until(&format!("{}.startsWith('orders-{leader}this view')", cell(leader, "Member")), PATIENCE)?;
    let click = |verb: &str| {
        format!(
            "[...document.querySelectorAll('#members-table tr[data-key=\"{member}\"] button')]\
             .find((button) => button.textContent === '{verb}').click()"
        )
    };
    on.browser.evaluate(&click("fail"))?;
    on.browser.until(&format!("{}.startsWith('failed')", cell(member, "Process")), PATIENCE)?;
    on.browser.until(&format!("{} !== 'healthy'", cell(member, "Health")), SEEN_TIME_MAX)?;
    let said = on.browser.evaluate("document.getElementById('said').textContent")?;
    ensure!(said.as_str().is_some_and(|said| said.contains("killed (pid")), "it says {said}");
    runtime().block_on(async {
        let put = format!("{}/files/while-down", on.store.base(leader));
        on.http.raw().put(put).body("bytes").send().await?.error_for_status().map(drop)
    })?;
    let queue = "document.querySelector('#queue-table tbody').innerText";
    on.browser
        .until(&format!("{queue}.includes('while-down') && {queue}.includes('orders-{member}')"), PATIENCE)?;
    on.picture("runner-light")?;
    on.is_quiet()?;
    on.browser.evaluate(&click("start"))?;
    on.browser.until(&format!("{}.startsWith('running') && {HEALTHS}", cell(member, "Process")), PATIENCE)?;
    on.browser.evaluate(&click("recover"))?;
    let recovered =
        "/recovery completed|no pending replications/.test(document.getElementById('said').textContent)";
    on.browser.until(recovered, PATIENCE)?;
    on.browser.until(&format!("!{queue}.includes('PENDING')"), PATIENCE)?;
    on.is_quiet()
}

fn leader_dies(on: &mut Watched) -> anyhow::Result<()> {
    let leader = on.store.wait_until_ready()?.member;
    on.open_runner()?;
    on.browser
        .until(&format!("{}.startsWith('orders-{leader}this view')", cell(leader, "Member")), PATIENCE)?;
    on.order("fail", leader)?;
    let other = format!("{}.textContent", "document.getElementById('seen')");
    on.browser.until(
        &format!(
            "!({TROUBLE}) && !{other}.includes('orders-{leader}') && {} !== 'healthy' && {} !== 'orders-{leader}'",
            cell(leader, "Health"),
            tile("Leader"),
        ),
        PATIENCE,
    )?;
    on.restore(leader)?;
    on.browser.until(HEALTHS, PATIENCE)?;
    on.browser.complaints().map(drop)
}

fn orders_from_elsewhere(on: &mut Watched) -> anyhow::Result<()> {
    let url = on.runner()?;
    let fail = format!("{url}/members/0/fail");
    runtime().block_on(async {
        let post = || on.http.raw().post(&fail);
        let order = "x-holdfast-dashboard";
        let (status, _) = on.http.answer(post()).await?;
        ensure!(status == StatusCode::FORBIDDEN, "without the header: {status}");
        let (status, _) =
            on.http.answer(post().header(order, "1").header("origin", "http://example.org")).await?;
        ensure!(status == StatusCode::FORBIDDEN, "from another page: {status}");
        let (status, _) = on.http.answer(post().header(order, "1").header("host", "example.org")).await?;
        ensure!(status == StatusCode::FORBIDDEN, "by another name: {status}");
        anyhow::Ok(())
    })?;
    let running: Value = runtime()
        .block_on(async { on.http.raw().get(format!("{url}/runner")).send().await?.json().await })?;
    ensure!(running["members"][0]["phase"] == "running", "it was killed: {running}");
    // A page of another origin, in a browser, cannot order it either.
    on.browser.go(&format!("{}/v1/status", on.store.base(0)))?;
    let tried = format!(
        "fetch('{fail}', {{method: 'POST', headers: {{'x-holdfast-dashboard': '1'}}}}).then(() => 'done', () => 'refused')"
    );
    let tried = on.browser.evaluate(&tried)?;
    ensure!(tried == "refused", "another page's order was {tried}");
    on.browser.complaints().map(drop)
}
