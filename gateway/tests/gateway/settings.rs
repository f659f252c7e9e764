//! Where settings come from, and how wrong ones are refused.

use std::{fs, time::Duration};

use tempfile::TempDir;
use tidings::StalePolicy;
use tidings_gateway::{BuiltIn, Cluster, Environment, Settings, SettingsError, Source};

fn resolve(flags: &[&str], variables: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment: Environment = variables.iter().copied().collect();
    let flags = ["tidings"].iter().chain(flags);
    Settings::resolve(flags, &environment)
}

/// The message about settings that are refused.
#[track_caller]
fn refused(flags: &[&str], variables: &[(&str, &str)]) -> String {
    match resolve(flags, variables).expect_err("these settings are wrong") {
        error @ SettingsError::Faults(_) => error.to_string(),
        other => panic!("not a fault: {other}"),
    }
}

fn file(text: &str) -> (TempDir, String) {
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("tidings.toml");
    fs::write(&path, text).expect("a file");
    let path = path.to_str().expect("a plain path").to_owned();
    (folder, path)
}

#[test]
fn a_flag_goes_before_a_variable_before_the_file_before_the_default() {
    let (_folder, path) = file("workers = 3\nttl = \"3s\"\nneg-ttl = \"3s\"\n");
    let settings = resolve(
        &["serve", "--config", &path, "--workers", "5"],
        &[("TIDINGS_WORKERS", "4"), ("TIDINGS_TTL", "4s")],
    )
    .expect("allowed settings");
    assert_eq!(settings.workers, 5);
    assert_eq!(settings.ttl, Some(Duration::from_secs(4)));
    assert_eq!(settings.neg_ttl, Some(Duration::from_secs(3)));
    assert_eq!(settings.max_staleness, None);
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let settings = Settings::default();
    assert_eq!(settings.proxy_listen.to_string(), "127.0.0.1:8000");
    assert_eq!(settings.admin_listen.to_string(), "127.0.0.1:8001");
    assert_eq!(settings.database, "sqlite://tidings.db");
    assert_eq!(settings.cache_size, 128 << 20);
    assert!(settings.plugins == BuiltIn::KeyAuthAndAcl);
    assert!(settings.allow_groups.is_none() && settings.upstream.is_none());
    assert_eq!((settings.ttl, settings.neg_ttl), (None, None));
    assert_eq!(settings.max_staleness, None);
    assert_eq!(settings.stale_policy, StalePolicy::Load);
    assert_eq!(settings.audit_reads, 0);
}

#[test]
fn a_warm_up_names_entities_that_can_be_warmed() {
    let settings = resolve(&["--warm-up", "consumers,keyauth_credentials"], &[]);
    let expected = ["consumers", "keyauth_credentials"];
    assert_eq!(settings.expect("allowed settings").warm_up, expected);
    let message = refused(&["--warm-up", "acls"], &[]);
    assert!(
        message.contains("warm-up") && message.contains("consumers"),
        "{message}"
    );
}

#[test]
fn the_file_is_found_by_a_variable_and_takes_lists_and_underscores() {
    let (_folder, path) = file("allow_groups = [\"b\", \"a, with comma\"]\ncache_size = \"1g\"\n");
    let settings = resolve(&[], &[("TIDINGS_CONFIG", &path)]).expect("allowed settings");
    let groups = settings.allow_groups.expect("groups are set");
    assert_eq!(groups, ["a, with comma", "b"]);
    assert_eq!(settings.cache_size, 1 << 30);
}

#[test]
fn an_empty_variable_is_as_good_as_none() {
    let settings = resolve(&[], &[("TIDINGS_WORKERS", ""), ("TIDINGS_UPSTREAM", "")]);
    assert!(settings.expect("allowed settings").upstream.is_none());
}

#[test]
fn a_wrong_value_is_refused_with_where_it_stands_and_what_is_allowed() {
    let said = refused(&["--workers", "0"], &[]);
    assert!(
        said.contains("workers: \"0\" (flag --workers) is invalid"),
        "{said}"
    );
    assert!(said.contains("a whole number from 1 to 128"), "{said}");
    let said = refused(&[], &[("TIDINGS_TTL", "5")]);
    assert!(
        said.contains("variable TIDINGS_TTL") && said.contains("the unit is missing"),
        "{said}"
    );
    let (_folder, path) = file("cache_size = 12\n");
    let said = refused(&["--config", &path], &[]);
    assert!(
        said.contains("key cache_size in") && said.contains("\"12\""),
        "{said}"
    );
}

#[test]
fn a_negative_value_is_refused_like_any_other() {
    for (name, value) in [("workers", "-1"), ("cache-size", "-1m"), ("ttl", "-5s")] {
        let said = refused(&[&format!("--{name}"), value], &[]);
        let expected = format!("{name}: \"{value}\" (flag --{name}) is invalid: expected");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn a_database_url_that_says_more_than_a_path_is_refused_as_a_setting() {
    for url in ["sqlite://t.db?mode=ro", "sqlite://%FF", "sqlite://%00"] {
        let said = refused(&["--database", url], &[]);
        let expected = format!("database: \"{url}\" (flag --database) is invalid");
        assert!(said.contains(&expected), "{said}");
    }
}

#[test]
fn all_faults_are_told_at_once() {
    let error = resolve(
        &["--workers", "many", "--ttl", "soon"],
        &[("TIDINGS_LOG", "loud")],
    );
    let Err(SettingsError::Faults(faults)) = error else {
        panic!("no faults: {error:?}")
    };
    let names: Vec<_> = faults.iter().filter_map(|fault| fault.name()).collect();
    assert_eq!(names, ["workers", "ttl", "log"]);
    assert_eq!(
        faults[2].source(),
        Some(&Source::Variable("TIDINGS_LOG".to_owned()))
    );
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let (_folder, path) = file("proxy-listn = \"127.0.0.1:1\"\nzzz = 1\n");
    let said = refused(&["--config", &path], &[]);
    assert!(
        said.contains("\"proxy-listn\"") && said.contains("did you mean proxy-listen?"),
        "{said}"
    );
    assert!(
        said.contains("\"zzz\"") && said.contains("the keys are proxy-listen"),
        "{said}"
    );
}

#[test]
fn a_file_that_is_missing_or_no_toml_is_refused() {
    assert!(refused(&["--config", "/nowhere/tidings.toml"], &[]).contains("cannot be read"));
    let (_folder, path) = file("workers = = 3");
    assert!(refused(&["--config", &path], &[]).contains("is not TOML"));
    let (_folder, path) = file("[workers]\nn = 3");
    assert!(refused(&["--config", &path], &[]).contains("the table"));
    let (_folder, path) = file("ttl = \"1s\"\nneg-ttl = \"1s\"\nneg_ttl = \"2s\"");
    assert!(refused(&["--config", &path], &[]).contains("set twice"));
}

#[test]
fn what_later_releases_bring_is_refused_as_such() {
    let said = refused(&["--upstream", "https://h"], &[]);
    assert!(said.contains("belongs to a later release"), "{said}");
    for flags in [
        ["--database", "mysql://h"],
        ["--database", "postgres://h"],
        ["--cluster", "gossip"],
        ["--database", "sqlite://"],
    ] {
        let said = refused(&flags, &[]);
        assert!(
            !said.contains("later release") && said.contains("expected"),
            "{said}"
        );
    }
}

#[test]
fn two_sides_on_one_address_are_refused() {
    let said = refused(&["--status-listen", "127.0.0.1:8001"], &[]);
    let expected = "status-listen: \"127.0.0.1:8001\" (flag --status-listen) is invalid: \
                    this is the address of --admin-listen too";
    assert!(said.contains(expected), "{said}");
    let said = refused(&["--proxy-listen", "127.0.0.1:8001"], &[]);
    assert!(said.contains("of --admin-listen too"), "{said}");

    let free = ["--proxy-listen=[::1]:0", "--admin-listen=[::1]:0"];
    resolve(&free, &[]).expect("each has a free port of its own");
}

#[test]
fn a_cluster_follows_from_the_database_unless_it_is_named() {
    let postgres = "postgres://u@h/db";
    for (flags, engine) in [
        (&[][..], Cluster::None),
        (&["--cluster", "none"], Cluster::None),
        (&["--cluster", "sqlite"], Cluster::Sqlite),
        (&["--database", postgres], Cluster::Postgres),
        (
            &["--database", postgres, "--cluster", "postgres"],
            Cluster::Postgres,
        ),
        (
            &["--database", postgres, "--cluster", "none"],
            Cluster::None,
        ),
    ] {
        let settings = resolve(flags, &[]).expect("allowed settings");
        assert_eq!(settings.cluster_engine(), engine, "{flags:?}");
    }
    for (flags, lacks) in [
        (
            &["--cluster", "postgres"][..],
            "needs a PostgreSQL database",
        ),
        (
            &["--cluster", "sqlite", "--database", "sqlite::memory:"],
            "needs a SQLite file",
        ),
        (
            &["--cluster", "sqlite", "--database", postgres],
            "needs a SQLite file",
        ),
        (
            &["--cluster", "nats://u:s3cret@h:1"],
            if cfg!(feature = "nats") {
                "needs a PostgreSQL database"
            } else {
                "the cargo feature `nats`"
            },
        ),
        (
            &["--cluster", "redis://h:1"],
            if cfg!(feature = "redis") {
                "needs a PostgreSQL database"
            } else {
                "the cargo feature `redis`"
            },
        ),
        (&["--cluster", "postgres://h/db"], "--database"),
        (&["--cluster-retention", "1s"], "from 10s to 30d"),
        (&["--cluster-poll", "0"], "from 1ms to 1m"),
        (&["--cluster-name", "a b"], "letters"),
        (&["--max-staleness", "10ms"], "from 50ms"),
        (&["--stale-policy", "serve"], "load or refuse"),
        (&["--stale-policy", "refuse"], "needs --max-staleness"),
        (&["--audit-reads", "1001"], "0 to 1000"),
        (&["--audit-reads", "01"], "0 to 1000"),
        (
            &["--max-staleness", "2h"],
            "longer than --cluster-retention",
        ),
    ] {
        let said = refused(flags, &[]);
        assert!(said.contains(lacks) && !said.contains("s3cret"), "{said}");
    }
}

#[test]
fn a_password_is_not_repeated() {
    let said = refused(&["--database", "postgres://u:s3cret@h/db?x=y"], &[]);
    assert!(
        !said.contains("s3cret") && said.contains("u:***@h"),
        "{said}"
    );
    let long = format!("postgres://u:s3cret{}@h/db?x=y", "x".repeat(300));
    for url in [
        "postgres://u@h/db?x=y&password=s3cret",
        "postgres://u@h/db?x=y&password=s3cret@1",
        "postgres://u:a?s3cret@h/db?x=y",
        &long,
    ] {
        let said = refused(&["--database", url], &[]);
        assert!(!said.contains("s3cret"), "{said}");
    }
    let (_folder, path) = file("database = [\"postgres://u:s3cret@h/db\"]\n");
    let said = refused(&["--config", &path], &[]);
    assert!(!said.contains("s3cret"), "{said}");
    let url = "postgres://u@h/db?sslmode=require&password=s3cret";
    let settings = resolve(&["--database", url], &[]).expect("allowed settings");
    assert_eq!(settings.database_shown(), "postgres://u@h/db?***");
    assert!(!format!("{settings:?}").contains("s3cret"));

    let said = refused(&["--admin-token", "with space"], &[]);
    assert!(!said.contains("with space"), "{said}");
    let settings = resolve(&["--admin-token", "s3cret"], &[]).expect("allowed settings");
    assert!(!format!("{settings:?}").contains("s3cret"));
}

#[test]
fn an_admin_api_that_others_can_reach_demands_a_token() {
    for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"] {
        let said = refused(&["--admin-listen", address], &[]);
        assert!(
            said.contains("--admin-token") && said.contains(address),
            "{said}"
        );
        resolve(&["--admin-listen", address, "--admin-token", "x"], &[]).expect("with a token");
    }
    for address in ["127.0.0.2:1", "[::1]:1", "localhost:1"] {
        resolve(&["--admin-listen", address], &[]).expect("loopback needs none");
    }
}

#[test]
fn groups_need_the_plugins_that_ask_for_them() {
    assert!(refused(&["--allow-groups", "a", "--plugins", "none"], &[]).contains("allow-groups"));
    assert!(refused(&["--plugins", "acl"], &[]).contains("key-auth"));
    assert!(refused(&["--allow-groups", "a,,b"], &[]).contains("allow-groups"));
    let settings = resolve(&["--plugins", "none"], &[]).expect("allowed settings");
    assert!(settings.plugins == BuiltIn::None);
}

#[test]
fn rust_log_is_heard_after_the_own_variable_and_before_the_file() {
    let (_folder, path) = file("log = \"error\"\n");
    let log = |flags: &[&str], variables: &[(&str, &str)]| {
        resolve(flags, variables).expect("allowed settings").log
    };
    assert_eq!(log(&["--config", &path], &[]), "error");
    assert_eq!(log(&["--config", &path], &[("RUST_LOG", "hyper")]), "hyper");
    assert_eq!(
        log(&[], &[("RUST_LOG", "hyper"), ("TIDINGS_LOG", "warn")]),
        "warn"
    );
    assert_eq!(log(&["--log", "debug"], &[("RUST_LOG", "hyper")]), "debug");
}
