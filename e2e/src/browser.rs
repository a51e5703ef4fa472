//! A headless Chromium, driven by its DevTools protocol over a pair of pipes: no port that others could reach, and no library.
//!
//! It remembers everything that a page complains about. It refuses to wait longer than a page may take.

use std::fs::{self, File};
use std::io::{BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use base64::Engine as _;
use holdfast_xtask::packages;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long the browser may take for one command: it starts in a second; the machine may be compiling.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// A name by which the browser reaches this machine and which nobody calls his own, as through a forwarded port.
pub const FORWARDED: &str = "forwarded.test";

/// Messages of the browser that may wait to be read; it waits then.
const MESSAGES_MAX: usize = 4096;

/// What the browser says by itself that means that something is wrong.
const COMPLAINTS: [&str; 4] =
    ["Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded", "Audits.issueAdded"];

/// How large a page's window is, and what its reader prefers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// Whether the reader prefers dark pages.
    pub dark: bool,
}

/// A browser with one page. Dropping it ends the browser.
#[derive(Debug)]
pub struct Browser {
    process: Child,
    commands: ChildStdin,
    messages: Receiver<Value>,
    session: String,
    last: u64,
    complaints: Vec<Value>,
    _profile: TempDir,
}

impl Browser {
    /// Start one with an empty page.
    ///
    /// # Errors
    ///
    /// If there is no Chromium, or it does not answer.
    pub fn start() -> anyhow::Result<Browser> {
        let profile = tempfile::tempdir().context("cannot make a folder")?;
        let log = File::create(profile.path().join("log")).context("cannot make a file")?;
        // It takes commands from descriptor 3 and answers on 4, which only a shell can give it: they are our pipes.
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>&2", "sh", "chromium"]);
        command.args(["--headless=new", "--remote-debugging-pipe", "--disable-gpu", "--hide-scrollbars"]);
        command.args(["--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]);
        command.arg(format!("--host-resolver-rules=MAP {FORWARDED} 127.0.0.1"));
        command.arg(format!("--user-data-dir={}", profile.path().join("profile").display()));
        if packages::is_root() {
            // Chromium's own sandbox does not work for root; the pages are ours.
            command.arg("--no-sandbox");
        }
        command.arg("about:blank").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log);
        let mut process = command.spawn().context("cannot start chromium")?;
        let commands = process.stdin.take().expect("a piped input");
        let output = process.stdout.take().expect("a piped output");
        let (sender, messages) = mpsc::sync_channel(MESSAGES_MAX);
        std::thread::spawn(move || read(BufReader::new(output), &sender));
        let mut browser = Browser {
            process,
            commands,
            messages,
            session: String::new(),
            last: 0,
            complaints: Vec::new(),
            _profile: profile,
        };
        let opened = browser.open_page();
        opened.with_context(|| format!("chromium said: {}", browser.words()))?;
        Ok(browser)
    }

    fn open_page(&mut self) -> anyhow::Result<()> {
        let page = self.command("Target.createTarget", json!({"url": "about:blank"}))?;
        let attached = json!({"targetId": page["targetId"], "flatten": true});
        let attached = self.command("Target.attachToTarget", attached)?;
        self.session = attached["sessionId"].as_str().context("there is no session")?.to_owned();
        for domain in ["Page", "Runtime", "Log", "Audits"] {
            self.command(&format!("{domain}.enable"), json!({}))?;
        }
        Ok(())
    }

    /// What the browser said on standard error.
    fn words(&self) -> String {
        fs::read_to_string(self._profile.path().join("log")).unwrap_or_default()
    }

    /// Be as large as this screen, and prefer what its reader prefers.
    ///
    /// # Errors
    ///
    /// If the browser does not do it.
    pub fn screen(&mut self, screen: Screen) -> anyhow::Result<()> {
        let Screen { width, height, dark } = screen;
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", metrics)?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", media).map(drop)
    }

    /// Go to a page. It may still load when this returns.
    ///
    /// # Errors
    ///
    /// If it cannot be reached.
    pub fn go(&mut self, url: &str) -> anyhow::Result<()> {
        let gone = self.command("Page.navigate", json!({ "url": url }))?;
        ensure!(gone["errorText"].is_null(), "{url}: {}", gone["errorText"]);
        Ok(())
    }

    /// What an expression is in the page; promises are waited for.
    ///
    /// # Errors
    ///
    /// If it throws.
    pub fn evaluate(&mut self, expression: &str) -> anyhow::Result<Value> {
        let wanted = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.command("Runtime.evaluate", wanted)?;
        let thrown = &answer["exceptionDetails"];
        ensure!(thrown.is_null(), "{expression} throws {thrown}");
        Ok(answer["result"]["value"].clone())
    }

    /// Wait until an expression is true in the page; how long that took.
    ///
    /// # Errors
    ///
    /// If it is not true in time, or throws; with what the page shows.
    pub fn until(&mut self, expression: &str, patience: Duration) -> anyhow::Result<Duration> {
        let began = Instant::now();
        loop {
            if self.evaluate(expression)? == json!(true) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > patience {
                let shown = self.evaluate("document.body.innerText")?;
                bail!("not within {patience:?}: {expression}; the page shows {shown}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A picture of what is on the screen, as PNG, also put into a file.
    ///
    /// # Errors
    ///
    /// If there is none, or the file cannot be written.
    pub fn picture(&mut self, file: &Path) -> anyhow::Result<Vec<u8>> {
        let picture = self.command("Page.captureScreenshot", json!({"format": "png"}))?;
        let picture = picture["data"].as_str().context("there is no picture")?;
        let picture = base64::engine::general_purpose::STANDARD.decode(picture)?;
        fs::write(file, &picture).with_context(|| format!("cannot write {}", file.display()))?;
        Ok(picture)
    }

    /// What the page has complained about since this was asked last: exceptions, errors and warnings in its console, violations of its
    /// policy.
    ///
    /// # Errors
    ///
    /// If the browser has gone.
    pub fn complaints(&mut self) -> anyhow::Result<Vec<Value>> {
        // What was said before the answer to this has been heard.
        self.evaluate("null")?;
        Ok(std::mem::take(&mut self.complaints))
    }

    fn command(&mut self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        self.last += 1;
        let mut command = json!({"id": self.last, "method": method, "params": parameters});
        if !self.session.is_empty() && !method.starts_with("Target.") {
            command["sessionId"] = json!(self.session);
        }
        let sent = self.commands.write_all(format!("{command}\0").as_bytes());
        sent.and_then(|()| self.commands.flush())
            .with_context(|| format!("chromium does not take {method}"))?;
        let deadline = Instant::now() + COMMAND_TIME_MAX;
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            let message = match self.messages.recv_timeout(patience) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => bail!("chromium does not answer {method}"),
                Err(RecvTimeoutError::Disconnected) => bail!("chromium ended before it answered {method}"),
            };
            if message["id"] == json!(self.last) {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].clone());
            }
            if COMPLAINTS.iter().any(|name| message["method"] == *name) {
                self.complaints.push(message["params"].clone());
            }
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Messages end with a zero byte.
fn read(mut output: impl std::io::BufRead, messages: &SyncSender<Value>) {
    let mut message = Vec::new();
    while output.read_until(0, &mut message).is_ok_and(|read| read > 0) {
        message.pop();
        if let Ok(value) = serde_json::from_slice(&message)
            && messages.send(value).is_err()
        {
            return;
        }
        message.clear();
    }
}
