//! [`Sink`]: a bounded queue of lines, emptied by one thread.

use std::{
    fmt,
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

/// How many lines wait at most.
const QUEUE: usize = 1024;
/// The longest line, in bytes; the rest of a longer one is cut off. With [`QUEUE`] this bounds the
/// memory.
const LONGEST_LINE: usize = 8 << 10;

/// The sender of lines. Clones share one queue; the thread ends with the last of them.
#[derive(Clone)]
pub(crate) struct Sink {
    queue: SyncSender<Item>,
    lost: Arc<AtomicU64>,
}

enum Item {
    Line(Vec<u8>),
    /// Calls in a function, on the thread that empties the queue.
    Call(Box<dyn FnOnce() + Send>),
    /// Signals the sender once everything before it is written.
    Flush(SyncSender<()>),
}

impl Sink {
    /// Starts the thread that writes to standard error.
    pub(crate) fn stderr() -> Self {
        Self::to(io::stderr())
    }

    fn to(out: impl Write + Send + 'static) -> Self {
        let (queue, lines) = sync_channel(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&lost);
        let thread = thread::Builder::new().name("tidings-log".to_owned());
        // Without the thread every line is lost, and counted as lost.
        let _ = thread.spawn(move || write_all(&lines, &counted, out));
        Self { queue, lost }
    }

    /// Queues a line, with its line end. Never waits: without room the line is lost and counted.
    pub(crate) fn send(&self, mut line: Vec<u8>) {
        if line.len() > LONGEST_LINE {
            line.truncate(LONGEST_LINE);
            line.extend_from_slice(b"..\n");
        }
        self.put(Item::Line(line));
    }

    /// Asks for a function to be called on the thread that writes, where it may log. Never waits.
    pub(super) fn call(&self, function: impl FnOnce() + Send + 'static) {
        self.put(Item::Call(Box::new(function)));
    }

    /// Returns how many lines were lost so far.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }

    /// Waits until everything queued before is written, for at most this long.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, written) = sync_channel(1);
        // A queue without room is one that is not being emptied: there is nothing to wait for.
        if self.queue.try_send(Item::Flush(done)).is_ok() {
            let _ = written.recv_timeout(patience);
        }
    }

    fn put(&self, item: Item) {
        if self.queue.try_send(item).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }
}

/// Writes queued items until every sender is gone. Only this may wait for the reader.
fn write_all(items: &Receiver<Item>, lost: &AtomicU64, mut out: impl Write) {
    let mut told = 0;
    while let Ok(item) = items.recv() {
        match item {
            Item::Line(line) => {
                if out.write_all(&line).is_err() {
                    lost.fetch_add(1, Relaxed);
                }
            }
            Item::Call(function) => function(),
            Item::Flush(done) => drop(done.try_send(())),
        }

        // Read after a write: a reader that had paused is back.
        let now = lost.load(Relaxed);

        if now > told {
            tracing::warn!(
                lines = now - told,
                "log lines were lost: their reader was too slow or failed"
            );
            told = now;
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.send(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("lost", &self.lost()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Condvar, Mutex};

    use super::*;

    /// A reader that can be stopped.
    #[derive(Clone, Default)]
    struct Gate(Arc<(Mutex<State>, Condvar)>);

    #[derive(Default)]
    struct State {
        shut: bool,
        text: String,
    }

    impl Gate {
        fn set(&self, shut: bool) {
            self.0.0.lock().expect("no panic").shut = shut;
            self.0.1.notify_all();
        }

        fn text(&self) -> String {
            self.0.0.lock().expect("no panic").text.clone()
        }
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let state = self.0.0.lock().expect("no panic");
            let mut state = self
                .0
                .1
                .wait_while(state, |state| state.shut)
                .expect("no panic");
            state.text.push_str(&String::from_utf8_lossy(bytes));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_stopped_holds_up_no_one_and_what_is_lost_is_counted() {
        let gate = Gate::default();
        let sink = Sink::to(gate.clone());
        gate.set(true);
        for n in 0..QUEUE * 3 {
            sink.send(format!("{n}\n").into_bytes());
        }
        let lost = sink.lost();
        assert!((1..QUEUE as u64 * 3).contains(&lost), "{lost}");

        gate.set(false);
        // Room comes as the lines go out.
        while !gate.text().contains(&format!("{}\n", QUEUE - 2)) {
            thread::yield_now();
        }
        sink.flush(Duration::from_secs(20));
        let written = gate.text().lines().count() as u64;
        assert_eq!(written + lost, QUEUE as u64 * 3);
    }

    #[test]
    fn a_line_without_end_is_cut() {
        let gate = Gate::default();
        let sink = Sink::to(gate.clone());
        sink.send(vec![b'x'; LONGEST_LINE * 4]);
        sink.flush(Duration::from_secs(20));
        assert_eq!(gate.text().len(), LONGEST_LINE + 3);
    }
}
