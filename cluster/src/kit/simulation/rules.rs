//! Each rule of the protocol is left out in turn, and the first seed that finds it is printed.
//!
//! Run by `scripts/simulate --rules`, in a process of its own.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{Plan, Verbosity, run};
use crate::faults::{RULES, Rule, remove};

/// How many seeds a rule is looked for in.
const SEEDS: u64 = 4_000;

/// The first seed that fails without a rule, and how.
fn found(rule: Rule, seeds: u64) -> Option<(u64, String)> {
    remove(Some(rule));
    let found = (0..seeds).find_map(|seed| {
        let outcome = run(&Plan::of(seed), Verbosity::Violations).expect("a run");
        let violation = outcome.violations.into_iter().next();
        violation.map(|violation| (seed, violation.to_string()))
    });
    remove(None);
    found
}

#[test]
fn every_rule_that_is_left_out_is_found() {
    let seeds = std::env::var("TIDINGS_SEEDS").ok();
    let seeds = seeds.map_or(SEEDS, |text| text.parse().expect("a number"));
    let one = std::env::var("TIDINGS_RULE").ok();
    let rules: Vec<_> = RULES
        .iter()
        .filter(|(name, _)| one.as_deref().is_none_or(|one| one == *name))
        .collect();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((name, rule)) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
            match found(*rule, seeds) {
                Some((seed, violation)) => println!("| {name} | {seed} | {violation} |"),
                None => missed.lock().expect("a list").push(*name),
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let missed = missed.into_inner().expect("a list");
    assert!(missed.is_empty(), "not found in {seeds} seeds: {missed:?}");
}
