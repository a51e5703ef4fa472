//! Structured logs on standard error, as JSON lines or as text, filtered by `HOLDFAST_LOG`. It refuses to guess at a
//! filter that it cannot read: the process does not start then.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// The variable that says which events are logged: `info`, `debug`, `holdfast_operator=debug,info`.
pub const LEVEL_VARIABLE: &str = "HOLDFAST_LOG";

/// What is logged if nobody says anything. The lease's renewals are not news.
const LEVEL_DEFAULT: &str = "info,kube_lease_manager=warn";

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
        #[source]
        source: ParseError,
    },
    /// Somebody else in this process set up logging.
    #[error("logging is set up already in this process")]
    Twice,
}

/// Log from now on.
///
/// # Errors
/// [`LoggingError`] for a filter that cannot be read, or a second call.
pub fn start(format: LogFormat) -> Result<(), LoggingError> {
    let filter = std::env::var(LEVEL_VARIABLE).unwrap_or_default();
    let filter = if filter.trim().is_empty() { LEVEL_DEFAULT.to_owned() } else { filter };
    let parsed = filter.parse::<EnvFilter>().map_err(|source| LoggingError::Filter { filter, source })?;
    let builder = tracing_subscriber::fmt().with_env_filter(parsed).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(false).try_init(),
        LogFormat::Text => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colour).try_init()
        }
    };
    started.map_err(|_| LoggingError::Twice)
}
