use super::*;
use crate::level1::seed::Hashing;

fn limit(entries: usize, bytes: u64) -> Size {
    Size { entries, bytes }
}

fn roomy(entries: usize) -> Window<u64> {
    Window::new(limit(entries, u64::MAX))
}

fn slots() -> Slots {
    Slots::new(4)
}

fn table_key(hash: u64, key: &[u8]) -> TableKey<'_> {
    TableKey {
        hash,
        layout: 0,
        bytes: key,
    }
}

fn new_entry(value: u64) -> NewEntry<u64> {
    NewEntry {
        value: Some(Arc::new(value)),
        number: Number(1),
        expires: Moment::NEVER,
        slot: 0,
        weight: 10,
    }
}

fn put(window: &mut Window<u64>, hash: u64, key: &[u8], value: u64) -> Vec<Arc<u64>> {
    let mut gone = Vec::new();
    window.put(table_key(hash, key), new_entry(value), &slots(), &mut gone);
    gone
}

fn get(window: &mut Window<u64>, hash: u64, key: &[u8]) -> Option<u64> {
    let hit = window.hit(table_key(hash, key), &slots(), |_| true)?;
    hit.as_deref().copied()
}

#[test]
fn an_entry_is_one_line_of_the_processors_cache() {
    assert_eq!(size_of::<Entry<u64>>(), 64);
    assert_eq!(align_of::<Entry<u64>>(), 64);
}

#[test]
fn an_entry_counts_its_two_places_its_value_and_a_key_that_is_not_in_it() {
    let places = 2 * (64 + 16);
    for (len, beside) in [(0, 0), (32, 0), (33, 33), (300, 300)] {
        let key = vec![b'k'; len];
        assert_eq!(weight_of(&key, 10), places + 10 + beside, "{len}");
    }
    assert_eq!(weight_of(b"", u32::MAX), u32::MAX);
}

// G13: the hash chooses a place, the whole key decides.
#[test]
fn keys_of_one_hash_are_told_apart_at_every_length() {
    for len in [0, 1, 31, 32, 33, 64, 300] {
        let key = vec![b'k'; len];
        let mut window = roomy(100);
        put(&mut window, 7, &key, 1);
        assert_eq!(get(&mut window, 7, &key), Some(1), "{len}");

        let longer = vec![b'k'; len + 1];
        assert_eq!(get(&mut window, 7, &longer), None, "{len}");
        for at in 0..len {
            let mut other = key.clone();
            other[at] = b'x';
            assert_eq!(get(&mut window, 7, &other), None, "{len} at {at}");
        }

        let other = TableKey {
            layout: 1,
            ..table_key(7, &key)
        };
        assert!(window.hit(other, &slots(), |_| true).is_none(), "{len}");

        // There is one entry to a hash.
        assert_eq!(put(&mut window, 7, &longer, 2), [Arc::new(1)]);
        assert_eq!(get(&mut window, 7, &key), None);
        assert_eq!(get(&mut window, 7, &longer), Some(2));
        assert_eq!(window.size().entries, 1);
    }
}

#[test]
fn an_entry_below_its_own_slot_is_not_served() {
    let slots = slots();
    let mut window = roomy(100);
    let mut gone = Vec::new();
    for slot in 0..4 {
        let key = [slot as u8];
        let new = NewEntry {
            slot,
            ..new_entry(u64::from(slot))
        };
        window.put(table_key(u64::from(slot) + 1, &key), new, &slots, &mut gone);
    }
    slots.raise(2 << 20, Number(2));
    for slot in 0..4_u32 {
        let key = [slot as u8];
        let found = window.hit(table_key(u64::from(slot) + 1, &key), &slots, |_| true);
        assert_eq!(found.is_some(), slot != 2, "{slot}");
    }

    window.sweep(&slots, Moment::START, &mut gone);
    assert_eq!((window.size().entries, gone), (3, vec![Arc::new(2)]));
}

#[test]
fn only_an_entry_that_expires_asks_for_the_time() {
    let mut window = roomy(10);
    put(&mut window, 1, b"a", 1);
    let never = |_| panic!("an entry without a ttl asked for the time");
    assert!(window.hit(table_key(1, b"a"), &slots(), never).is_some());

    let timed = NewEntry {
        expires: Moment(5),
        ..new_entry(2)
    };
    window.put(table_key(2, b"b"), timed, &slots(), &mut Vec::new());
    let mut is_served = |now| {
        window
            .hit(table_key(2, b"b"), &slots(), |at| at > Moment(now))
            .is_some()
    };
    assert!(is_served(4) && !is_served(5));

    let mut gone = Vec::new();
    window.sweep(&slots(), Moment(5), &mut gone);
    assert_eq!(gone, [Arc::new(2)]);
}

// G12: whatever the hashes are, and however many.
#[test]
fn a_flood_of_colliding_keys_keeps_to_one_window() {
    let mut window = roomy(1_000);
    let hash = |key: u64| (key << 32) | 5;
    for key in 1..=500 {
        put(&mut window, hash(key), &key.to_le_bytes(), key);
    }
    assert!(
        window.size().entries <= 2 * WINDOW,
        "{}",
        window.size().entries
    );
    let found =
        (1..=500).filter(|&key| get(&mut window, hash(key), &key.to_le_bytes()) == Some(key));
    assert!(found.count() >= WINDOW);
}

#[test]
fn half_a_table_of_random_keys_loses_next_to_none() {
    let mut lost = 0;
    for _ in 0..20 {
        let hashing = Hashing::new();
        let mut window = roomy(4_096);
        for key in 0..4_096_u64 {
            let bytes = key.to_le_bytes();
            lost += put(&mut window, hashing.hash(0, &bytes), &bytes, key).len();
        }
        for key in 0..4_096_u64 {
            let bytes = key.to_le_bytes();
            let found = get(&mut window, hashing.hash(0, &bytes), &bytes);
            assert!(found.is_none() || found == Some(key));
        }
    }
    assert!(lost <= 8, "{lost} of 81,920");
}

#[test]
fn bounds_hold_whatever_comes() {
    let bytes = 100 * u64::from(weight_of(b"", 10));
    let mut window = Window::new(limit(60, bytes));
    let hashing = Hashing::new();
    let mut live = 0_usize;
    for key in 0..2_000_u64 {
        let long = "x".repeat(key as usize % 200);
        let name = format!("{key}{long}");
        let gone = put(
            &mut window,
            hashing.hash(0, name.as_bytes()),
            name.as_bytes(),
            key,
        );
        live += 1;
        live -= gone.len();
        assert!(window.size().entries <= 60 && window.size().bytes <= bytes);
        assert_eq!(window.size().entries, live);
        assert!(window.long.iter().flatten().count() <= window.size().entries);
    }
    assert!(window.entries.len() <= 128, "{}", window.entries.len());

    // One that would take more than a sixteenth of the room stays in L2, and so does what the key
    // had.
    put(&mut window, 9, b"k", 1);
    let heavy = NewEntry {
        weight: (bytes / 16) as u32,
        ..new_entry(2)
    };
    let mut gone = Vec::new();
    window.put(table_key(9, b"k"), heavy, &slots(), &mut gone);
    assert_eq!(gone, [Arc::new(1), Arc::new(2)]);
    assert_eq!(get(&mut window, 9, b"k"), None);
}

#[test]
fn the_hand_spares_what_was_hit() {
    let hashing = Hashing::new();
    let mut window = roomy(64);
    let hot = hashing.hash(0, b"hot");
    put(&mut window, hot, b"hot", 0);
    for key in 1..1_000_u64 {
        let bytes = key.to_le_bytes();
        put(&mut window, hashing.hash(0, &bytes), &bytes, key);
        assert_eq!(get(&mut window, hot, b"hot"), Some(0), "after {key}");
    }
    assert_eq!(window.size().entries, 64);
}

#[test]
fn a_sweep_gives_memory_back() {
    let slots = slots();
    let mut window = roomy(4_096);
    let hashing = Hashing::new();
    let mut gone = Vec::new();
    for key in 0..2_000_u64 {
        let bytes = key.to_le_bytes();
        let new = NewEntry {
            slot: u32::from(key % 100 == 0),
            ..new_entry(key)
        };
        window.put(
            table_key(hashing.hash(0, &bytes), &bytes),
            new,
            &slots,
            &mut gone,
        );
    }
    assert_eq!(window.entries.len(), 4_096);
    slots.raise(0, Number(2));
    window.sweep(&slots, Moment::START, &mut gone);
    assert_eq!((window.size().entries, gone.len()), (20, 1_980));
    assert!(window.entries.len() <= 128);
    for key in (0..2_000_u64).step_by(100) {
        let bytes = key.to_le_bytes();
        assert!(
            window
                .hit(table_key(hashing.hash(0, &bytes), &bytes), &slots, |_| true)
                .is_some()
        );
    }
}

#[test]
fn a_table_that_keeps_nothing_answers_nothing() {
    let mut window = roomy(0);
    assert_eq!(put(&mut window, 1, b"a", 1), [Arc::new(1)]);
    assert_eq!(get(&mut window, 1, b"a"), None);
    window.sweep(&slots(), Moment::START, &mut Vec::new());
}

/// Keys whose window is full: one that may be kept farther on makes room.
#[test]
fn an_entry_makes_room_farther_on() {
    let mut window = roomy(1_000);
    window.lay_out(256, &mut Vec::new());
    // Its window is places 5 to 20; the last of its places holds a key at home there.
    let home = |key: u64, place: u64| (key << 32) | place;
    put(&mut window, home(99, 20), b"farther", 99);
    for key in 1..16 {
        put(&mut window, home(key, 5), &[key as u8], key);
    }
    assert_eq!(put(&mut window, home(16, 5), &[16], 16), [], "none leaves");
    for key in 1..=16 {
        assert_eq!(get(&mut window, home(key, 5), &[key as u8]), Some(key));
    }
    assert_eq!(get(&mut window, home(99, 20), b"farther"), Some(99));
    assert_eq!(window.size().entries, 17);
}

/// Where none can, the first that was not hit has to go, or that is no longer valid; or else the
/// one at home.
#[test]
fn a_full_window_gives_up_what_was_not_hit() {
    let slots = slots();
    let hash = |key: u64| (key << 32) | 5;
    let full = || {
        let mut window = roomy(1_000);
        window.lay_out(256, &mut Vec::new());
        for key in 1..=16_u64 {
            let new = NewEntry {
                slot: u32::from(key == 9),
                ..new_entry(key)
            };
            window.put(
                table_key(hash(key), &[key as u8]),
                new,
                &slots,
                &mut Vec::new(),
            );
        }
        window
    };
    let hit = |window: &mut Window<u64>, spared: u64| {
        for key in (1..=16).filter(|&key| key != spared) {
            assert_eq!(get(window, hash(key), &[key as u8]), Some(key));
        }
    };

    let mut window = full();
    hit(&mut window, 7);
    assert_eq!(put(&mut window, hash(17), &[17], 17), [Arc::new(7)]);

    // All were hit: the one at the place that the hash chooses goes, and the marks with it.
    let mut window = full();
    hit(&mut window, 0);
    assert_eq!(put(&mut window, hash(17), &[17], 17), [Arc::new(1)]);
    assert_eq!(put(&mut window, hash(18), &[18], 18), [Arc::new(17)]);

    // One that was hit and is no longer valid spares the others.
    let mut window = full();
    hit(&mut window, 0);
    slots.raise(1 << 20, Number(2));
    let mut gone = Vec::new();
    window.put(table_key(hash(17), &[17]), new_entry(17), &slots, &mut gone);
    assert_eq!(gone, [Arc::new(9)]);
}

#[test]
fn bounds_may_be_reached_and_not_passed() {
    let weight = u64::from(weight_of(b"a", 10));
    let mut window = Window::new(limit(100, 16 * weight));
    for key in 0..16_u64 {
        assert_eq!(put(&mut window, key + 1, &[key as u8], key), []);
    }
    assert_eq!(window.size().bytes, 16 * weight);
    assert_eq!(put(&mut window, 17, &[16], 16).len(), 1);

    // The largest entry that is kept takes a sixteenth of the room, to the byte.
    let mut window = Window::new(limit(100, 16 * weight));
    let heavier = NewEntry {
        weight: 11,
        ..new_entry(1)
    };
    let mut gone = Vec::new();
    window.put(table_key(1, b"a"), heavier, &slots(), &mut gone);
    assert_eq!(gone, [Arc::new(1)]);

    // A table doubles when more than half of it would be full.
    let mut window = roomy(1_000);
    for key in 0..8_u64 {
        put(&mut window, key + 1, &[key as u8], key);
    }
    assert_eq!(window.entries.len(), FEWEST);
    put(&mut window, 9, &[8], 8);
    assert_eq!(window.entries.len(), 2 * FEWEST);
}

#[test]
fn a_sweep_shrinks_a_table_that_is_an_eighth_full() {
    let sizes = |live: u64| {
        let mut window = roomy(1_000);
        window.lay_out(256, &mut Vec::new());
        for key in 0..live {
            put(&mut window, key + 1, &[key as u8], key);
        }
        window.sweep(&slots(), Moment::START, &mut Vec::new());
        (window.entries.len(), window.size().entries)
    };
    assert_eq!(sizes(32), (256, 32));
    assert_eq!(sizes(31), (128, 31));
    assert_eq!(sizes(2), (FEWEST, 2));
    assert_eq!(sizes(0), (FEWEST, 0));
}

/// A lookup ends at a place that never held anything behind a key's own.
#[test]
fn what_leaves_ends_lookups_only_where_nothing_lies_behind() {
    let mut window = roomy(100);
    for key in 1..=3_u64 {
        put(&mut window, (key << 32) | 4, &[key as u8], key);
    }
    window.remove((2 << 32) | 4, &mut Vec::new());
    assert_eq!(window.entries[5].flags, Flags::GONE);
    assert_eq!(get(&mut window, (3 << 32) | 4, &[3]), Some(3));
    window.remove((3 << 32) | 4, &mut Vec::new());
    assert_eq!(window.entries[6].flags, Flags::EMPTY);

    // The place behind the last is the first.
    let mut window = roomy(100);
    put(&mut window, (1 << 32) | 15, b"a", 1);
    put(&mut window, (2 << 32) | 15, b"b", 2);
    window.remove((1 << 32) | 15, &mut Vec::new());
    assert_eq!(window.entries[15].flags, Flags::GONE);
    assert_eq!(get(&mut window, (2 << 32) | 15, b"b"), Some(2));
}
