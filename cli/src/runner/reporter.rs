//! How a runner shows what happens: a live table with the events above it on a terminal, else a line per event.
//!
//! Refuses to stop the members because nobody looks any more: a reader that has gone is ignored.

use std::io::{self, IsTerminal, Stdout, Write};

use holdfast_laptop::event::{Dated, Event};

use super::terminal::{Line, Screen, Tone, size, wants_colour};
use crate::arguments::UpOutput;
use crate::view::{Health, StoreView};

/// Where events and the store's state go.
#[derive(Debug)]
pub struct Reporter {
    form: Form,
}

#[derive(Debug)]
enum Form {
    Live(Screen<Stdout>),
    Lines(Stdout),
    Json(Stdout),
}

impl Reporter {
    /// On standard output, as asked for and as it can be shown there.
    pub fn new(output: UpOutput) -> Reporter {
        let out = io::stdout();
        let form = match output {
            UpOutput::Json => Form::Json(out),
            UpOutput::Table
                if out.is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb") =>
            {
                let colour = wants_colour(&out);
                Form::Live(Screen::new(out, colour))
            }
            UpOutput::Table => Form::Lines(out),
        };
        Reporter { form }
    }

    /// Shows an event that happened now.
    pub fn event(&mut self, event: &Event) {
        let time = jiff::Timestamp::now().round(jiff::Unit::Millisecond).unwrap_or_default();
        // Whoever reads may have gone; the members go on.
        let _ = match &mut self.form {
            Form::Live(screen) => screen.print(&lines(time, event), size()),
            Form::Lines(out) => writeln!(out.lock(), "{time:.3} {event}"),
            Form::Json(out) => {
                let line = serde_json::to_string(&Dated { time, event }).expect("events are plain data");
                writeln!(out.lock(), "{line}")
            }
        };
    }

    /// Shows the store as it is, where that is shown at all.
    pub fn show(&mut self, title: &str, view: &StoreView) {
        if let Form::Live(screen) = &mut self.form {
            let _ = screen.draw(table(title, view), size());
        }
    }

    /// Takes the table away: what follows are the last events.
    pub fn clear(&mut self) {
        if let Form::Live(screen) = &mut self.form {
            let _ = screen.draw(Vec::new(), size());
        }
    }
}

/// An event as lines that stay: its first with the time, the others dimmed.
fn lines(time: jiff::Timestamp, event: &Event) -> Vec<Line> {
    let tone = match event {
        Event::Ready { .. } => Tone::Green,
        Event::Died { .. }
        | Event::NotStarted { .. }
        | Event::LeaderLost { .. }
        | Event::EditRefused { .. } => Tone::Red,
        Event::Failed { .. } | Event::Stopped { killed: true, .. } => Tone::Yellow,
        _ => Tone::Plain,
    };
    let text = event.to_string();
    let time = format!("{time:.3}");
    // A person at a terminal knows the day.
    let time = time.split_once('T').map_or(time.as_str(), |(_, time)| time);
    text.lines()
        .enumerate()
        .map(|(number, line)| match number {
            0 => Line::new(format!("{time} {line}"), tone),
            _ => Line::new(line, Tone::Dim),
        })
        .collect()
}

/// The table: a title, the members, what to do next.
fn table(title: &str, view: &StoreView) -> Vec<Line> {
    let health = match view.health {
        Health::Ok => Tone::Green,
        Health::Degraded => Tone::Yellow,
        Health::NoQuorum => Tone::Red,
    };
    let mut lines =
        vec![Line::new("", Tone::Plain), Line::new(format!("{title}: {}", view.health.words()), health)];
    lines.extend(view.lines());
    lines.push(Line::new(
        "ctrl-c ends it; from another terminal: holdfast status | kv | fail | start",
        Tone::Dim,
    ));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_with_a_list_is_several_lines() {
        let event = Event::EditRefused { reasons: vec!["spec.replicas: no".into()] };
        let lines = lines(jiff::Timestamp::UNIX_EPOCH, &event);
        assert!(lines[0].text.starts_with("00:00:00.000Z the manifest was edited, but"), "{lines:?}");
        assert_eq!(lines[1], Line::new("    spec.replicas: no", Tone::Dim));
    }

    #[test]
    fn the_table_says_how_the_store_is() {
        let view = StoreView::new(Some("default/orders".into()), Vec::new());
        let lines = table("default/orders", &view);
        assert_eq!(lines[1], Line::new("default/orders: no quorum: it does not serve", Tone::Red));
        assert!(lines[2].text.starts_with("MEMBER"));
    }
}
