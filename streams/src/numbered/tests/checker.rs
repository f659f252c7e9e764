//! A random checker: nodes append and read, the server loses its newest records, and at the end
//! each acknowledged record is looked for at each reader.
//!
//! A reader must have read it, or have had a gap after it was acknowledged, or have begun after
//! that. The one loss that the log does not promise to report is a tail that was lost together with
//! the node that appended it. So a publisher ends only after it has checked the stream, and every
//! reader has read everything.

use tidings_core::{
    entropy::{Entropy as _, SeededEntropy},
    log::{Cursor, Log as _},
};

use super::{event, head, read};
use crate::{kit::Memory, numbered::Numbered};

/// How many steps one run takes.
const STEPS: usize = 60;
/// How many runs are made.
const SEEDS: u64 = 300;

struct Reader {
    log: Numbered,
    cursor: Cursor,
    /// The records that it still has to receive.
    owed: Vec<u64>,
}

impl Reader {
    async fn at_head(server: &Memory) -> Self {
        let log = server.numbered("reader");
        let cursor = head(&log).await;
        let owed = Vec::new();
        Self { log, cursor, owed }
    }

    /// Continues over another link, which does not know what was read.
    fn come_back(&mut self, server: &Memory) {
        self.log = server.numbered("reader");
    }

    async fn read(&mut self) {
        match read(&self.log, &self.cursor).await {
            Ok((records, cursor)) => {
                self.owed
                    .retain(|number| !records.contains(&number.to_string()));
                self.cursor = cursor;
            }
            Err(_) => {
                // It purges once it has a cursor at the head.
                self.cursor = head(&self.log).await;
                self.owed.clear();
            }
        }
    }
}

/// Runs one seed. Returns the records that a reader should have received in the end, and did not.
async fn run(seed: u64) -> Vec<u64> {
    let (server, chance) = (Memory::new(), SeededEntropy::new(seed));
    let mut publishers = ["a", "b"].map(|node| server.numbered(node));
    let mut readers = Vec::new();
    for _ in 0..3 {
        readers.push(Reader::at_head(&server).await);
    }

    for number in 0..STEPS as u64 {
        let at = usize::try_from(chance.below(3)).unwrap_or(0);
        match chance.below(12) {
            0..=4 => {
                let publisher = &publishers[usize::from(chance.below(2) == 0)];
                if publisher.append(event(number)).await.is_ok() {
                    for reader in &mut readers {
                        reader.owed.push(number);
                    }
                }
            }
            5..=7 => {
                readers[at].read().await;
            }
            8 => server.lose(at),
            9 => server.trim_to(4),
            10 => readers[at].come_back(&server),
            _ => {
                let ends = &mut publishers[at % 2];
                head(ends).await;
                for reader in &mut readers {
                    reader.read().await;
                }
                *ends = server.numbered("c");
            }
        }
    }

    // All nodes read once more: first those that have appended, as their tails would.
    for publisher in &publishers {
        head(publisher).await;
    }
    for reader in &mut readers {
        reader.read().await;
        reader.read().await;
    }
    readers.into_iter().flat_map(|reader| reader.owed).collect()
}

fn first_seed_that_fails() -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    (0..SEEDS).find(|seed| !runtime.block_on(run(*seed)).is_empty())
}

#[test]
fn no_reader_misses_a_record_without_a_gap() {
    assert_eq!(first_seed_that_fails(), None, "this seed loses a record");
}

/// Run by `scripts/simulate --rules`.
#[cfg(tidings_faults)]
#[test]
fn every_rule_that_is_left_out_is_found() {
    use crate::faults::{RULES, remove};

    for (name, rule) in RULES {
        remove(Some(*rule));
        let found = first_seed_that_fails();
        remove(None);
        println!("{name}: seed {found:?}");
        assert!(found.is_some(), "{name} is not missed");
    }
}
