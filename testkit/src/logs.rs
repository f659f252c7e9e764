//! Log lines that one test reads while others run.

use std::sync::Once;

use tracing::{
    Event, Metadata, Subscriber,
    span::{Attributes, Id, Record},
    subscriber::{Interest, set_global_default},
};

/// Makes each log line of this process ask who listens, from now on. Call it before the code that
/// logs runs in any test of the process, and then listen with a subscriber of the test's own thread
/// or task.
///
/// tracing remembers of each place in the code whether anyone listens to it. Without this, a place
/// that one test reaches for the first time, while another test begins to listen, may be remembered
/// as one to which no one does.
pub fn ask_at_each_log_line() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // If there is a subscriber for the whole process, that one is asked.
        let _ = set_global_default(Undecided);
    });
}

/// Listens to nothing, and says so each time.
struct Undecided;

impl Subscriber for Undecided {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
