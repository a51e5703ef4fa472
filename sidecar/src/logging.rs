//! Structured logs on standard error, as JSON lines or as text.
//!
//! One line per event; the level comes from `HOLDFAST_LOG`. It refuses to guess at a filter that it cannot read: the
//! process does not start then.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::fmt::format::FmtSpan;

/// The variable that says which events are logged, in tracing-subscriber's directives: `info`, `debug`,
/// `holdfast_sidecar=debug,info`.
pub const LEVEL_VARIABLE: &str = "HOLDFAST_LOG";

/// What is logged if nobody says anything.
const LEVEL_DEFAULT: &str = "info";

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For machines: one JSON object a line.
    #[default]
    Json,
    /// For people; coloured on a terminal unless `NO_COLOR` is set.
    Text,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The filter makes no sense.
    #[error("{LEVEL_VARIABLE}={filter:?} is no log filter; write a level such as info or debug, or unset it")]
    Filter {
        /// What the variable says.
        filter: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// Somebody else in this process set up logging.
    #[error("logging is set up already in this process")]
    Twice,
}

/// Log from now on, everything in this process, panics too.
///
/// # Errors
///
/// [`LoggingError`] for a filter that cannot be read, or a second call.
pub fn start(format: LogFormat) -> Result<(), LoggingError> {
    let filter = filter(std::env::var(LEVEL_VARIABLE).ok())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_span_events(FmtSpan::NONE)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).try_init()
        }
    };
    started.map_err(|_| LoggingError::Twice)?;
    log_panics();
    Ok(())
}

fn filter(variable: Option<String>) -> Result<EnvFilter, LoggingError> {
    let text = variable.filter(|text| !text.trim().is_empty()).unwrap_or_else(|| LEVEL_DEFAULT.to_owned());
    EnvFilter::try_new(&text).map_err(|source| LoggingError::Filter { filter: text, source })
}

/// A panic is a broken invariant of ours; it must be in the same log as everything before it.
fn log_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let said = panic.payload();
        let said = said
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| said.downcast_ref::<String>().cloned())
            .unwrap_or_default();
        tracing::error!(%place, %thread, "an invariant is broken: {said}");
        before(panic);
    }));
}

#[cfg(test)]
mod tests {
    use super::filter;

    #[test]
    fn levels_come_from_the_variable_and_nonsense_is_refused() {
        assert_eq!(filter(None).expect("the default").to_string(), "info");
        assert_eq!(filter(Some("  ".into())).expect("empty is unset").to_string(), "info");
        assert_eq!(filter(Some("debug".into())).expect("a level").to_string(), "debug");
        let error = filter(Some("holdfast=loud".into())).expect_err("no such level").to_string();
        assert!(error.contains("HOLDFAST_LOG") && error.contains("loud"), "{error}");
    }
}
