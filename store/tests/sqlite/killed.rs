//! A writing process that is killed: no row without its record, and no record without its row.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, Command, Stdio},
};

use tidings_core::entropy::{Entropy as _, SystemEntropy};
use tidings_store::Logging;

use crate::{dao, support::Database};

/// The variable with the file to which a second process of this test binary writes without end.
const VARIABLE: &str = "TIDINGS_LOG_TEST_WRITES_TO";

/// Selects rows that differ from their last record, and records of rows that are missing or were
/// not changed.
const DIFFERENCES: &str = "
    SELECT 'owners', o.id FROM owners AS o WHERE o.name IS NOT (
        SELECT s.new_name FROM tidings_log AS l JOIN \"tidings_log:owners\" AS s ON s.id = l.id
        WHERE l.entity = 'owners' AND l.key = o.id ORDER BY l.id DESC LIMIT 1)
    UNION ALL
    SELECT 'records', l.key FROM tidings_log AS l WHERE l.entity = 'owners' AND l.kind <> 'd'
        AND l.id = (SELECT max(m.id) FROM tidings_log AS m WHERE m.entity = 'owners' AND m.key = l.key)
        AND l.kind IN ('c', 'u') AND NOT EXISTS (SELECT 1 FROM owners AS o WHERE o.id = l.key)
    UNION ALL
    SELECT 'values', l.id FROM tidings_log AS l WHERE l.entity = 'owners' AND l.kind IN ('c', 'u', 'd')
        AND NOT EXISTS (SELECT 1 FROM \"tidings_log:owners\" AS s WHERE s.id = l.id);
";

/// Not a test of its own: the process that is killed.
#[tokio::test]
async fn writes_until_killed() {
    let Ok(path) = std::env::var(VARIABLE) else {
        return;
    };
    let store = dao::store_at(&format!("sqlite://{path}"), Logging::On).await;
    let owners = store.dao::<dao::Owner>().expect("attached");
    for number in 0_i64.. {
        let id = number % 7;
        let name = format!("{}-{number}", std::process::id());
        let owner = dao::Owner { id, name };
        let _ = owners.upsert(owner).await.expect("written");
        if number % 5 == 0 {
            let _ = owners.delete((number + 3) % 7).await.expect("deleted");
        }
        let mut out = std::io::stdout().lock();
        if writeln!(out, "written {number}")
            .and_then(|()| out.flush())
            .is_err()
        {
            return;
        }
    }
}

fn writer(database: &Database) -> Child {
    Command::new(std::env::current_exe().expect("this test"))
        .args(["--exact", "killed::writes_until_killed", "--nocapture"])
        .env(VARIABLE, database.path())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a process")
}

#[tokio::test]
async fn fifty_kills_leave_no_row_without_its_record_and_no_record_without_its_row() {
    let database = Database::with("");
    let entropy = SystemEntropy;
    let mut written = 0;
    for _ in 0..50 {
        let mut child = writer(&database);
        // At some point after an acknowledged write: within a few hundred steps of the next ones.
        let mut lines = BufReader::new(child.stdout.take().expect("an output")).lines();
        let mut left = 1 + entropy.below(6);
        while left > 0 {
            let line = lines.next().expect("it goes on").expect("text");
            if line.contains("written ") {
                left -= 1;
                written += 1;
            }
        }
        for _ in 0..entropy.below(200_000) {
            std::hint::spin_loop();
        }
        child.kill().expect("killed");
        child.wait().expect("an end");
        assert_eq!(database.sqlite3(DIFFERENCES), "", "after {written} writes");
    }
    // The query finds differences.
    database.sqlite3(
        "DROP TRIGGER \"tidings:after_update:owners\"; UPDATE owners SET name = 'x' || id;",
    );
    assert_ne!(database.sqlite3(DIFFERENCES), "");
}
