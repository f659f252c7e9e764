//! The log in memory, in both forms, does what every log has to; and a log that does not is found.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use tidings_cluster::kit::{
    Form, MemoryLog, ModelStore,
    conformance::{Subject, check},
};
use tidings_core::{
    CacheKey, PrimaryKey,
    log::{
        Appended, Batch, Body, Cursor, Digest, Extent, Group, Head, Log, LogError, LogFuture, Mark,
        MemberId, Read, Sight, Wake, WakeUps,
    },
};

struct InMemory {
    log: MemoryLog,
    fault: Option<Fault>,
}

impl InMemory {
    fn new(form: Form, fault: Option<Fault>) -> Self {
        let log = MemoryLog::new(ModelStore::new(form, 1));
        Self { log, fault }
    }
}

impl Subject for InMemory {
    fn open(&self) -> Arc<dyn Log> {
        let log = self.log.beside();
        match self.fault {
            None => Arc::new(log),
            Some(fault) => Arc::new(Faulty {
                log,
                fault,
                repeated: AtomicBool::new(false),
            }),
        }
    }

    async fn trim(&self) {
        self.log.store().prune();
    }

    async fn end_epoch(&self) {
        self.log.store().begin_epoch();
    }

    fn records(&self) -> usize {
        if self.fault.is_some() { 300 } else { 10_000 }
    }
}

// CE4 to CE6 and CE10, for a log in memory.
#[tokio::test]
async fn a_log_in_memory_does_what_every_log_has_to() {
    for form in [Form::Counted, Form::Snapshot] {
        let make = async || InMemory::new(form, None);
        check(make).await.assert_none();
    }
}

/// What a log may do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The last record of a full page is left out.
    CutsPages,
    /// A page is given again, once.
    RepeatsPages,
    /// A gap is answered with nothing at all.
    HidesGaps,
    /// A payload loses its end.
    CutsPayloads,
    /// A page holds more than was asked for.
    IgnoresTheLimit,
    /// What is appended is appended twice.
    AppendsTwice,
}

/// A log with a fault.
#[derive(Debug)]
struct Faulty {
    log: MemoryLog,
    fault: Fault,
    repeated: AtomicBool,
}

impl Faulty {
    fn spoil(&self, read: Read, from: &Cursor, limit: usize) -> Read {
        let batch = match (self.fault, read) {
            (Fault::HidesGaps, Read::Gap(_)) => Batch {
                trail: Vec::new(),
                records: Vec::new(),
                passed_over: 0,
                cursor: from.clone(),
                extent: Extent::All,
                sight: Sight::alone(),
            },
            (_, Read::Gap(gap)) => return Read::Gap(gap),
            (_, Read::Batch(batch)) => batch,
        };
        let mut batch = batch;
        match self.fault {
            Fault::CutsPages if batch.records.len() == limit => drop(batch.records.pop()),
            Fault::RepeatsPages
                if batch.extent == Extent::More && !self.repeated.swap(true, Relaxed) =>
            {
                batch.cursor = from.clone();
            }
            Fault::CutsPayloads => {
                for record in &mut batch.records {
                    if let Body::Event(posted) = &mut record.body {
                        let short: String = posted.payload.chars().take(1_000).collect();
                        posted.payload = short.into();
                    }
                }
            }
            _ => {}
        }
        Read::Batch(batch)
    }
}

impl Log for Faulty {
    fn head<'a>(&'a self, member: Option<&'a MemberId>) -> LogFuture<'a, Result<Head, LogError>> {
        self.log.head(member)
    }

    fn read<'a>(
        &'a self,
        from: &'a Cursor,
        limit: usize,
        member: Option<&'a MemberId>,
    ) -> LogFuture<'a, Result<Read, LogError>> {
        Box::pin(async move {
            let asked = if self.fault == Fault::IgnoresTheLimit {
                limit + 1
            } else {
                limit
            };
            let read = self.log.read(from, asked, member).await?;
            Ok(self.spoil(read, from, limit))
        })
    }

    fn group<'a>(
        &'a self,
        mark: Mark,
        entity: &'a str,
        key: &'a PrimaryKey,
    ) -> LogFuture<'a, Result<Option<Group>, LogError>> {
        self.log.group(mark, entity, key)
    }

    fn answers(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.log.answers()
    }

    fn append(&self, entry: Appended) -> LogFuture<'_, Result<Mark, LogError>> {
        Box::pin(async move {
            if self.fault == Fault::AppendsTwice {
                self.log.append(entry.clone()).await?;
            }
            self.log.append(entry).await
        })
    }

    fn retire_connections(&self) -> LogFuture<'_, Result<(), LogError>> {
        self.log.retire_connections()
    }

    fn listen(&self) -> LogFuture<'_, Result<Box<dyn WakeUps>, LogError>> {
        self.log.listen()
    }

    fn wake(&self, wake: Wake) {
        self.log.wake(wake);
    }

    fn digest(&self, key: &CacheKey) -> Option<Digest> {
        self.log.digest(key)
    }
}

#[tokio::test]
async fn a_log_with_a_fault_is_found_by_the_cases_that_are_about_it() {
    let found = async |fault| {
        let failures = check(async || InMemory::new(Form::Counted, Some(fault))).await;
        let cases = failures.0.iter().map(|failure| failure.case);
        cases.collect::<Vec<_>>()
    };
    for (fault, case) in [
        (Fault::CutsPages, "pages_lose_nothing_and_repeat_nothing"),
        (Fault::RepeatsPages, "pages_lose_nothing_and_repeat_nothing"),
        (
            Fault::HidesGaps,
            "a_reader_behind_what_was_forgotten_is_told",
        ),
        (
            Fault::HidesGaps,
            "another_epoch_is_a_gap_and_never_an_empty_read",
        ),
        (Fault::CutsPayloads, "what_is_read_is_what_was_appended"),
        (
            Fault::IgnoresTheLimit,
            "pages_lose_nothing_and_repeat_nothing",
        ),
        (
            Fault::AppendsTwice,
            "every_reader_gets_each_record_once_and_in_one_order",
        ),
    ] {
        let cases = found(fault).await;
        assert!(cases.contains(&case), "{fault:?} fails {cases:?}");
    }
}
