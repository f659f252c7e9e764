//! `tidings tail`: the changes as they happen, from a change on and from a write on.

use std::{
    path::Path,
    process::{Output, Stdio},
};

use super::{err, folder, node, object, objects, out, run};
use crate::process::{Program, command, post};

/// Writes until a command that follows the changes has ended. Returns its output.
async fn followed(program: &Program, prefix: &str, flags: &[&str]) -> Output {
    let admin = format!("http://{}", program.admin);
    let mut command = command(Path::new("/"), flags);
    let command = command.args(["--admin", &admin]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the program runs");
    let mut n = 0;
    crate::cluster::until("it has heard enough", || {
        n += 1;
        let form = format!("username={prefix}{n}");
        assert!(post(program.admin, "/consumers", &form).starts_with("HTTP/1.1 201"));
        child.try_wait().expect("it can be waited for").is_some()
    })
    .await;
    child.wait_with_output().expect("it has ended")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_followed_and_gone_on_with() {
    let database = tidings_testkit::Server::shared().database().await;
    let url = database.url();
    let program = Program::start(Path::new("/"), &["--database", &url, "--node-id", "a"]);
    let json = ["--output", "json"];
    let heard = followed(
        &program,
        "u",
        &[&["tail", "crud", "consumers:*", "--count", "2"], &json[..]].concat(),
    )
    .await;
    assert_eq!(heard.status.code(), Some(0), "{}", err(&heard));
    let changes = objects(&heard);
    assert_eq!(changes.len(), 2);
    for change in &changes {
        assert_eq!(change["operation"], "create", "{change}");
        let differs = change["differs"].as_array().expect("names");
        assert!(differs.contains(&"username".into()), "{change}");
    }

    // The second comes again behind the first.
    let since = changes[0]["position"].as_str().expect("a position");
    let again = run(
        &program,
        &[&["tail", "--count", "1", "--since", since], &json[..]].concat(),
    );
    assert_eq!(again.status.code(), Some(0), "{}", err(&again));
    assert_eq!(objects(&again)[0]["entity"], changes[1]["entity"]);
    let wrong = run(&program, &["tail", "--since", "yesterday"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", err(&wrong));
    assert!(
        err(&wrong).contains("--since is not the position of a change or a write"),
        "{}",
        err(&wrong)
    );

    let table = followed(&program, "v", &["tail", "-n", "1"]).await;
    let text = out(&table);
    assert!(
        text.starts_with("create  consumers  ") && text.contains("username: \"v"),
        "{text}"
    );
}

#[test]
fn changes_are_followed_from_a_write_on() {
    let folder = folder();
    let program = Program::start(folder.path(), &["--node-id", "a", "--cluster", "sqlite"]);
    let made = post(program.admin, "/consumers", "username=u1");
    let token = made.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        let is_it = name.eq_ignore_ascii_case("x-tidings-position");
        is_it.then(|| value.to_owned())
    });
    let token = token.expect("a write has a position");
    post(program.admin, "/consumers", "username=u2");

    let told = object(&program, &["tail", "--count", "1", "--since", &token]);
    assert_eq!(told["entity"]["username"], "u2", "{told}");
    let wrong = run(&program, &["tail", "--since", &token[1..]]);
    assert_eq!(wrong.status.code(), Some(2), "{}", err(&wrong));
    assert!(
        err(&wrong).contains("the position of a write"),
        "{}",
        err(&wrong)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_ends_is_told_from_one_that_is_quiet() {
    let folder = folder();
    let program = node(&folder);
    let admin = format!("http://{}", program.admin);
    let mut command = command(
        Path::new("/"),
        &["tail", "--admin", &admin, "--output", "json"],
    );
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.expect("the program runs");
    let mut lines = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
    let first = std::thread::spawn(move || {
        let mut line = String::new();
        std::io::BufRead::read_line(&mut lines, &mut line).expect("a line comes");
        (line, lines)
    });
    let mut n = 0;
    crate::cluster::until("it follows", || {
        n += 1;
        post(program.admin, "/consumers", &format!("username=u{n}"));
        first.is_finished()
    })
    .await;
    program.signal("TERM");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(3));
    assert!(err(&output).contains("--since"), "{}", err(&output));
}
