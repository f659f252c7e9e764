//! Which answers a history rules out.

use super::*;

const BOUND: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick(0).plus(Duration::from_millis(millis))
}

fn by(node: usize, millis: u64, reach: Reach) -> Answer {
    Answer {
        by: Some(node),
        at: at(millis),
        reach,
        position: Some(Position("p".into())),
    }
}

/// A history in which node 0 answered "present" from 100 to 110, and "absent" from 200 to 210.
fn history(reach: Reach) -> History {
    let history = History::new(BOUND);
    history.sends("k", State::Present, at(100));
    history.answered("k", by(0, 110, Reach::Everywhere));
    history.sends("k", State::Absent, at(200));
    history.answered("k", by(0, 210, reach));
    history
}

fn is_violated(history: &History, node: usize, began: u64, ended: u64, state: State) -> bool {
    let before = history.violations().0;
    let (began, ended) = (at(began), at(ended));
    history.read(
        "k",
        Read {
            node,
            began,
            ended,
            state,
            after: None,
        },
    );
    history.violations().0 > before
}

#[test]
fn an_old_state_is_served_within_the_bound_by_other_nodes_alone() {
    let history = history(Reach::OneNode);
    let old = State::Present;
    assert!(!is_violated(&history, 0, 205, 215, old), "not answered yet");
    assert!(is_violated(&history, 0, 211, 215, old), "it answered this");
    assert!(!is_violated(&history, 1, 1_200, 1_300, old));
    assert!(is_violated(&history, 1, 1_261, 1_300, old));
    assert!(!is_violated(&history, 1, 1_261, 1_300, State::Absent));
}

#[test]
fn a_confirmed_write_ends_the_old_state_everywhere() {
    let history = history(Reach::Everywhere);
    assert!(!is_violated(&history, 1, 209, 300, State::Present));
    assert!(is_violated(&history, 1, 210, 300, State::Present));
}

#[test]
fn a_state_is_seen_from_when_it_was_sent_and_a_lost_answer_leaves_both() {
    let history = history(Reach::Everywhere);
    history.sends("k", State::Present, at(400));
    assert!(is_violated(&history, 2, 300, 399, State::Present));
    for state in [State::Present, State::Absent] {
        assert!(!is_violated(&history, 2, 300, 400, state));
        assert!(!is_violated(&history, 2, 90_000, 90_001, state));
    }
    history.was_not_sent("k");
    assert!(is_violated(&history, 2, 300, 500, State::Present));
}

#[test]
fn a_read_that_names_a_position_shows_nothing_older() {
    let history = history(Reach::OneNode);
    let (_, sent) = history.position("k").expect("it was answered");
    let read = |after| Read {
        node: 1,
        began: at(220),
        ended: at(230),
        state: State::Present,
        after,
    };
    history.read("k", read(None));
    assert_eq!(history.violations().0, 0);
    history.read("k", read(Some(sent)));
    assert_eq!(history.violations().0, 1);
}

#[test]
fn what_a_database_has_lost_is_served_within_the_bound_alone() {
    let (old, lost) = (State::Present, State::Absent);
    let there = BTreeSet::from(["k".to_owned()]);
    let history = history(Reach::Everywhere);
    assert_eq!(history.came_back(&there, at(150), (at(300), at(400))), 1);
    assert_eq!(history.violations().0, 0);
    assert_eq!(history.known("k"), Known::State(old));
    assert!(
        is_violated(&history, 0, 290, 299, old),
        "it was not lost yet"
    );
    assert!(!is_violated(&history, 0, 290, 300, old));
    assert!(!is_violated(&history, 0, 1_449, 1_500, lost));
    assert!(is_violated(&history, 0, 1_450, 1_500, lost));
    history.is_whole(&there, at(2_000));
    assert_eq!(history.violations().0, 2);
}

#[test]
fn reads_are_judged_once_it_is_known_what_the_database_has() {
    for (there, violations) in [(BTreeSet::new(), 1), (BTreeSet::from(["k".to_owned()]), 0)] {
        let history = history(Reach::Everywhere);
        history.may_lose();
        assert!(!is_violated(&history, 0, 310, 320, State::Present));
        history.came_back(&there, at(150), (at(300), at(400)));
        assert_eq!(history.violations().0, violations);
    }
}

#[test]
fn a_database_loses_nothing_older_and_at_no_other_moment() {
    let (there, at_last) = (BTreeSet::from(["k".to_owned()]), at(2_000));
    let whole = history(Reach::OneNode);
    whole.is_whole(&BTreeSet::new(), at_last);
    assert_eq!(whole.violations().0, 0);
    whole.is_whole(&there, at_last);
    assert_eq!(whole.violations().0, 1);

    let history = history(Reach::OneNode);
    history.came_back(&there, at(209), (at(300), at(400)));
    assert_eq!(history.violations().0, 0);
    history.came_back(&there, at(500), (at(600), at(700)));
    assert_eq!(history.violations().0, 0, "it is as it came back");
    history.came_back(&BTreeSet::new(), at(500), (at(600), at(700)));
    assert_eq!(history.violations().0, 1);
}

#[test]
fn a_write_in_doubt_hides_no_loss_of_one_before() {
    for (since, is_lost) in [(150, true), (210, false)] {
        let history = history(Reach::Everywhere);
        history.may_lose();
        assert!(!is_violated(&history, 1, 310, 320, State::Present));
        history.sends("k", State::Present, at(350));
        history.came_back(&BTreeSet::new(), at(since), (at(300), at(400)));
        assert_eq!(history.violations().0 == 0, is_lost);
        assert!(is_violated(&history, 1, 290, 299, State::Present));
        assert_eq!(is_violated(&history, 1, 310, 320, State::Present), !is_lost);
        assert!(!is_violated(&history, 1, 310, 320, State::Absent));
    }
}

#[test]
fn a_write_in_doubt_stays_in_doubt_when_the_database_comes_back() {
    let history = history(Reach::OneNode);
    history.sends("k", State::Present, at(250));
    assert_eq!(history.known("k"), Known::Open);
    for there in [BTreeSet::new(), BTreeSet::from(["k".to_owned()])] {
        assert_eq!(history.came_back(&there, at(240), (at(300), at(400))), 0);
        history.is_whole(&there, at(2_000));
    }
    assert_eq!(history.violations().0, 0);
}
