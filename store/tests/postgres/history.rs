//! Killed writers.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use sqlx::Row as _;

use crate::support::captured;

/// A writing process that is killed at any moment leaves no row without its record, and no record
/// without its row.
#[tokio::test]
async fn a_killed_writer_never_parts_a_row_from_its_record() {
    let database = captured().await;
    let mut connection = database.connect().await;
    for round in 0..50_i64 {
        let script = (0..200_i64)
            .map(|number| {
                format!(
                    "insert into numbers values ({}, 'x');\n",
                    round * 1_000 + number
                )
            })
            .collect::<String>();
        let mut writer = Command::new("psql")
            .args(["-X", "-q", &database.url()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("psql runs");
        let mut input = writer.stdin.take().expect("a pipe");
        input
            .write_all(script.as_bytes())
            .expect("the pipe takes it");
        drop(input);
        // Killed once it has written this round's number of rows, wherever it is then.
        let wanted = round % 25 * 4;
        while writer.try_wait().expect("a child").is_none() {
            let written =
                sqlx::query("select count(*) from numbers where id >= $1").bind(round * 1_000);
            let written: i64 = written
                .fetch_one(&mut connection)
                .await
                .expect("a count")
                .get(0);
            if written >= wanted {
                break;
            }
        }
        writer.kill().expect("killed");
        let _ = writer.wait().expect("ended");
    }
    let parted = database.psql(
        "select count(*) from (select id::text from numbers) n full join \
         (select key from tidings.log where entity = 'numbers' and kind = 'c') l on l.key = n.id \
         where l.key is null or n.id is null",
    );
    assert_eq!(parted.trim(), "0");
    let written: i64 = database
        .psql("select count(*) from numbers")
        .trim()
        .parse()
        .expect("a count");
    assert!(written > 50 * 10, "{written} rows");
}
