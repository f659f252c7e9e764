//! [`Log`]: what the program writes to standard error, without ever waiting for its reader.
//!
//! Lines go into a bounded queue that one thread empties. A reader that pauses (a pipe that no one
//! empties, a disk that hangs) fills the queue; lines beyond it are lost and counted, and when the
//! reader is back one line says how many. A place in the source that repeats itself is cut to a few
//! lines at a time, with a count of the rest. So neither a stalled log nor a flood of failures
//! holds up a request or the end of the program.

// The queue and its thread; knows nothing about the content of a line.
mod sink;
// How often one place may write; does not know the content of a line either.
mod repeats;

use std::{io::IsTerminal, sync::Arc, time::Duration};

use tidings::core::Chain;
use tracing_subscriber::{
    EnvFilter, Registry,
    fmt::writer::BoxMakeWriter,
    layer::{Layer, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

pub(crate) use self::sink::Sink;

use self::repeats::Repeats;
use crate::settings::{LogFormat, Settings};

/// The log of the program, for access lines and its own few messages too. Clones share it.
#[derive(Clone, Debug)]
pub struct Log {
    sink: Sink,
    filter: Arc<reload::Handle<EnvFilter, Registry>>,
}

impl Log {
    /// Starts the log of the process: installs the subscriber that `tracing` events go to, and has
    /// panics logged instead of written to standard error, which could block.
    ///
    /// A subscriber that is installed already stays.
    #[must_use]
    pub fn start(settings: &Settings) -> Self {
        let sink = Sink::stderr();
        let (filter, handle) = reload::Layer::new(filter(&settings.log));

        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(BoxMakeWriter::new(move || writer.clone()))
            // Its own errors about a line that could not be written would go to standard error
            // directly.
            .log_internal_errors(false)
            .with_ansi(std::io::stderr().is_terminal());
        let repeats = Repeats::new(sink.clone());
        let lines = match settings.log_format {
            LogFormat::Text => lines.with_filter(repeats).boxed(),
            LogFormat::Json => lines.json().with_filter(repeats).boxed(),
        };

        // A program that has this crate as a library may have a subscriber already.
        let _ = Registry::default().with(filter).with(lines).try_init();

        std::panic::set_hook(Box::new(|panic| {
            let place = panic.location().map(ToString::to_string);
            let message = panic.payload_as_str();
            tracing::error!(place, message, "a thread panicked");
        }));

        Self {
            sink,
            filter: Arc::new(handle),
        }
    }

    /// Switches to another filter.
    pub(crate) fn reload(&self, directives: &str) {
        if let Err(error) = self.filter.reload(filter(directives)) {
            tracing::warn!(error = %Chain(&error), "the filter of the log stays as it was");
        }
    }

    pub(crate) fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Writes a line that no filter leaves out.
    pub fn say(&self, line: &str) {
        self.sink.send(format!("{line}\n").into_bytes());
    }

    /// Waits until what was written has gone out, for at most this long.
    pub fn flush(&self, patience: Duration) {
        self.sink.flush(patience);
    }
}

/// Makes the filter. The settings have been checked, so the fallback is never needed; and logging
/// is no reason to fail.
fn filter(directives: &str) -> EnvFilter {
    EnvFilter::try_new(directives).unwrap_or_else(|_| EnvFilter::new("info"))
}
