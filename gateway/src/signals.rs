//! [`Signals`]: SIGTERM, SIGINT and SIGHUP, handled on a thread of their own.
//!
//! Everything else in the program may hang: a runtime whose threads wait for a database, a worker
//! that waits for a lock. This thread waits for signals and the clock alone. It ends the process
//! itself: at once upon a second signal to stop, and ten seconds after the first one whatever
//! hangs.

#![expect(
    clippy::disallowed_methods,
    reason = "a limit of the whole process, which no clock of ours can hurry"
)]

use std::{io, process, thread, time::Duration};

use tidings_gateway::Log;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::sleep,
};

/// The exit status that a shell reports for a program ended by SIGINT.
const INTERRUPTED: i32 = 130;
/// How long the shutdown may take, counted from the signal.
const LONGEST_END: Duration = Duration::from_secs(10);

/// An order that a signal gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Stop,
    Reload,
}

/// The orders of signals, first come first.
#[derive(Debug)]
pub(crate) struct Signals {
    orders: mpsc::Receiver<Order>,
    stopped: bool,
}

impl Signals {
    /// Starts to listen. From here on no signal ends the process by itself.
    pub(crate) fn listen(log: Log) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;

        // Registered before this returns.
        let entered = runtime.enter();
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hang_up = signal(SignalKind::hangup())?;
        drop(entered);

        let (sender, orders) = mpsc::channel(4);
        let heard = hear(terminate, interrupt, hang_up, sender, log);
        thread::Builder::new()
            .name("tidings-signals".to_owned())
            .spawn(move || runtime.block_on(heard))?;

        Ok(Self {
            orders,
            stopped: false,
        })
    }

    /// Waits for the next order.
    ///
    /// # Cancel safety
    ///
    /// No order is lost.
    pub(crate) async fn next(&mut self) -> Order {
        if self.stopped {
            return Order::Stop;
        }
        // A thread that is gone can bring no order any more.
        let order = self.orders.recv().await.unwrap_or(Order::Stop);
        self.stopped = order == Order::Stop;
        order
    }

    /// Waits for the order to stop; what is started anyway needs no reload.
    pub(crate) async fn stop(&mut self) {
        while self.next().await == Order::Reload {}
    }
}

async fn hear(
    mut terminate: Signal,
    mut interrupt: Signal,
    mut hang_up: Signal,
    orders: mpsc::Sender<Order>,
    log: Log,
) {
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            // If the queue is full, a waiting reload will read the same file.
            _ = hang_up.recv() => drop(orders.try_send(Order::Reload)),
        }
    }

    // If the queue is full, this waits until the orders to reload in front of it are done.
    let _ = tokio::join!(orders.send(Order::Stop), async {
        tokio::select! {
            _ = terminate.recv() => at_once(&log),
            _ = interrupt.recv() => at_once(&log),
            () = sleep(LONGEST_END) => {
                log.say("tidings: stopped after 10s although something still hangs");
                process::exit(0);
            }
        }
    });
}

fn at_once(log: &Log) {
    log.say("tidings: stopped at once by a second signal");
    // Only a moment for that line: its reader may be what hangs.
    log.flush(Duration::from_millis(50));
    process::exit(INTERRUPTED);
}
