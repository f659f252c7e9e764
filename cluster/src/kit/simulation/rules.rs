//! Each rule of the protocol is left out in turn, and the first seed that finds it is printed.
//!
//! Run by `scripts/simulate --rules`, in a process of its own. With `TIDINGS_SHOW` set, the history
//! of the shortest plan is printed too.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{Plan, Verbosity, run, shortest};
use crate::faults::{RULES, Rule, remove};

/// How many seeds a rule is looked for in.
const SEEDS: u64 = 20_000;

/// Returns the first seed that fails without a rule, and how.
fn found(rule: Rule, seeds: std::ops::Range<u64>) -> Option<(u64, String)> {
    remove(Some(rule));
    let found = seeds.into_iter().find_map(|seed| {
        let outcome = run(&Plan::of(seed), Verbosity::Violations).expect("a run");
        let violation = outcome.violations.into_iter().next();
        violation.map(|violation| (seed, violation.to_string()))
    });
    if let Some((seed, _)) = &found
        && std::env::var_os("TIDINGS_SHOW").is_some()
    {
        let plan = shortest(&Plan::of(*seed)).expect("a run");
        let history = run(&plan, Verbosity::History).expect("a run").lines;
        println!("{plan:#?}\n{}", history.join("\n"));
    }

    remove(None);
    found
}

#[test]
fn every_rule_that_is_left_out_is_found() {
    let number = |variable, default| {
        let text = std::env::var(variable).ok();
        text.map_or(default, |text| text.parse().expect("a number"))
    };
    let first = number("TIDINGS_FIRST_SEED", 0);
    let seeds = first..first + number("TIDINGS_SEEDS", SEEDS);
    let one = std::env::var("TIDINGS_RULE").ok();
    let rules: Vec<_> = RULES
        .iter()
        .filter(|(name, _)| one.as_deref().is_none_or(|one| one == *name))
        .collect();
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let Some((name, rule)) = rules.get(next.fetch_add(1, Ordering::Relaxed)) {
            match found(*rule, seeds.clone()) {
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
    assert!(
        missed.is_empty(),
        "not found in seeds {seeds:?}: {missed:?}"
    );
}
