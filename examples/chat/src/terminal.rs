//! The chat for a person: what is typed is sent, what comes is shown, and who serves it does not matter.
//!
//! Refuses to show a password. Works from a file or a pipe too: one command per line, and the exit code says whether all went well.

use std::io::{BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use rustyline::error::ReadlineError;
use rustyline::{DefaultEditor, ExternalPrinter as _};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use crate::caller::{CallError, Caller};
use crate::inbox::Inbox;
use crate::limits::PAGE_DEFAULT;
use crate::messages::ChatMessage;

const HELP: &str = "\
create NAME           make an account; asks for a password
login NAME            log in; asks for the password
list [PATTERN]        accounts, by a pattern such as a*
send NAME TEXT        to a name, or to all that fit a pattern; also @NAME TEXT
read NAME [PAGE]      the conversation with somebody
delete NUMBER...      messages
delete-account        the account that is logged in, and its messages
logout
help
exit";

/// Prints a line while another one may be typed.
type Print = Box<dyn FnMut(String) + Send>;

struct Session<'a> {
    runtime: &'a Runtime,
    caller: Caller,
    listening: Option<JoinHandle<()>>,
    /// Makes something that prints beside the line that is typed.
    printer: Box<dyn FnMut() -> Print + 'a>,
}

/// Runs until the end of the input or `exit`. True if everything went well.
pub(crate) fn run(runtime: &Runtime, caller: Caller) -> std::io::Result<bool> {
    if std::io::stdin().is_terminal() { typed(runtime, caller) } else { scripted(runtime, caller) }
}

fn typed(runtime: &Runtime, caller: Caller) -> std::io::Result<bool> {
    let mut editor = DefaultEditor::new().map_err(std::io::Error::other)?;
    let mut printers = Vec::new();
    // Few are needed, one for each login; they are made before the editor is in use.
    for _ in 0..8 {
        printers.push(editor.create_external_printer().map_err(std::io::Error::other)?);
    }
    let printer = move || -> Print {
        match printers.pop() {
            Some(mut printer) => Box::new(move |line| drop(printer.print(format!("{line}\n")))),
            None => Box::new(|line| say(&line)),
        }
    };
    let mut session = Session { runtime, caller, listening: None, printer: Box::new(printer) };
    say("help says what there is");
    loop {
        let prompt = session.caller.name().map_or_else(|| "> ".to_owned(), |name| format!("{name}> "));
        match editor.readline(&prompt) {
            Ok(line) => {
                let _ = editor.add_history_entry(&line);
                match session.obey(&line, &mut ask_password) {
                    Ok(true) => {}
                    Ok(false) => return Ok(true),
                    Err(error) => say(&format!("error: {error}")),
                }
            }
            Err(ReadlineError::Eof | ReadlineError::Interrupted) => return Ok(true),
            Err(error) => return Err(std::io::Error::other(error)),
        }
    }
}

fn scripted(runtime: &Runtime, caller: Caller) -> std::io::Result<bool> {
    let printer = || -> Print { Box::new(|line| say(&line)) };
    let mut session = Session { runtime, caller, listening: None, printer: Box::new(printer) };
    let mut lines = std::io::stdin().lock().lines();
    let mut well = true;
    while let Some(line) = lines.next().transpose()? {
        let mut password = |_: &str| lines.next().transpose().map(Option::unwrap_or_default);
        match session.obey(&line, &mut password) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                well = false;
                say(&format!("error: {error}"));
            }
        }
    }
    // What is on its way has a moment.
    if session.listening.is_some() {
        runtime.block_on(tokio::time::sleep(std::time::Duration::from_millis(500)));
    }
    Ok(well)
}

impl Session<'_> {
    /// Does what a line says. False: it says that it is over.
    fn obey(
        &mut self,
        line: &str,
        password: &mut dyn FnMut(&str) -> std::io::Result<String>,
    ) -> Result<bool, CallError> {
        let line = line.trim();
        let (verb, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim();
        let refused = |text: &str| CallError::Refused(text.to_owned());
        let mut ask = |name: &str| {
            password(&format!("password of {name}: ")).map_err(|error| refused(&error.to_string()))
        };
        let runtime = self.runtime;
        match verb {
            "" => {}
            "exit" | "quit" => return Ok(false),
            "help" => say(HELP),
            "create" => {
                let password = ask(rest)?;
                say(&runtime.block_on(self.caller.create_account(rest, &password))?);
            }
            "login" => {
                let password = ask(rest)?;
                self.stop_listening();
                say(&runtime.block_on(self.caller.log_in(rest, &password))?);
                self.listen();
            }
            "logout" => {
                self.stop_listening();
                say(&runtime.block_on(self.caller.log_out())?);
            }
            "list" => {
                let (names, total) = runtime.block_on(self.caller.accounts(rest, 100, 1))?;
                say(&format!("{total} accounts: {}", names.join(", ")));
            }
            "send" => self.send(rest)?,
            _ if verb.starts_with('@') => self.send(&line[1..])?,
            "read" => {
                let (partner, page) = rest.split_once(' ').unwrap_or((rest, "1"));
                let page = page.trim().parse().map_err(|_| refused("a page is a number from 1"))?;
                let reply = runtime.block_on(self.caller.read(partner, PAGE_DEFAULT as i32, page, &[]))?;
                reply.messages.iter().for_each(|message| say(&shown(message)));
                say(&format!("{} of {} messages follow", reply.remaining, reply.total_msgs));
            }
            "delete" => {
                let ids: Result<Vec<i32>, _> = rest.split_whitespace().map(str::parse).collect();
                let ids = ids.map_err(|_| refused("messages are named by their numbers"))?;
                say(&runtime.block_on(self.caller.delete_messages(&ids))?);
            }
            "delete-account" => {
                let said = runtime.block_on(self.caller.delete_account())?;
                self.stop_listening();
                say(&said);
            }
            other => return Err(refused(&format!("there is no {other}; help says what there is"))),
        }
        Ok(true)
    }

    fn send(&mut self, rest: &str) -> Result<(), CallError> {
        let Some((to, text)) = rest.split_once(char::is_whitespace) else {
            return Err(CallError::Refused("send NAME TEXT".to_owned()));
        };
        let (id, said) = self.runtime.block_on(self.caller.send(to, text.trim()))?;
        say(&format!("[{id}] {said}"));
        Ok(())
    }

    fn listen(&mut self) {
        let mut inbox = Inbox::new(&self.caller);
        let mut print = (self.printer)();
        self.listening = Some(self.runtime.spawn(async move {
            loop {
                match inbox.next().await {
                    Ok(message) => print(shown(&message)),
                    Err(error) => {
                        print(format!("error: {error}"));
                        return;
                    }
                }
            }
        }));
    }

    fn stop_listening(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.abort();
        }
    }
}

fn shown(message: &ChatMessage) -> String {
    let ChatMessage { id, from_, to, content, .. } = message;
    format!("[{id}] {from_} to {to}: {content}")
}

/// A line for whoever reads; nobody may.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

/// A line that is not shown while it is typed.
fn ask_password(prompt: &str) -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let before = tcgetattr(&stdin)?;
    let mut silent = before.clone();
    silent.local_modes.remove(LocalModes::ECHO);
    let mut out = std::io::stdout().lock();
    write!(out, "{prompt}")?;
    out.flush()?;
    tcsetattr(&stdin, OptionalActions::Now, &silent)?;
    let mut line = String::new();
    let read = stdin.lock().read_line(&mut line);
    tcsetattr(&stdin, OptionalActions::Now, &before)?;
    writeln!(out)?;
    read.map(|_| line.trim_end_matches(['\r', '\n']).to_owned())
}
