//! Opening, locking and closing.

use std::{fs, path::Path};

use tidings_core::{Entity as _, clock::ManualClock};
use tidings_store::{Error, Store};

use super::support::{Fixture, Recorder, attachment, schemas};
use crate::entities::{Consumer, Invoice, consumer};

fn url(path: &Path) -> String {
    format!("sqlite://{}", path.display())
}

#[tokio::test]
async fn a_second_store_on_the_same_file_is_refused_by_whatever_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    let store = Store::open(&url(&path)).await.unwrap();
    let link = directory.path().join("link.db");
    #[cfg(unix)]
    std::os::unix::fs::symlink(&path, &link).unwrap();
    let detour = directory
        .path()
        .join("../")
        .join(directory.path())
        .join("./tidings.db");
    for name in [&path, &link, &detour] {
        match Store::open(&url(name)).await.unwrap_err() {
            Error::InUse {
                path: held,
                process,
            } => {
                assert_eq!(held, path.canonicalize().unwrap());
                assert_eq!(process, Some(std::process::id()));
            }
            error => panic!("{}: {error}", name.display()),
        }
    }
    store.close().await.unwrap();
    Store::open(&url(&link)).await.unwrap();
}

#[tokio::test]
async fn the_lock_ends_with_the_last_handle() {
    let directory = tempfile::tempdir().unwrap();
    let url = url(&directory.path().join("tidings.db"));
    for _ in 0..20 {
        let fixture = Fixture::at(&url).await.unwrap();
        let dao = fixture.dao::<Consumer>();
        drop(fixture);
        assert!(matches!(Store::open(&url).await, Err(Error::InUse { .. })));
        dao.insert(consumer(&uuid::Uuid::new_v4().to_string()))
            .await
            .unwrap();
        drop(dao);
    }
    let fixture = Fixture::at(&url).await.unwrap();
    let page = fixture
        .dao::<Consumer>()
        .page(Default::default())
        .await
        .unwrap();
    assert_eq!(page.data.len(), 20);
}

#[tokio::test]
async fn rows_outlive_a_close_and_a_closed_store_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b%?.db");
    let url = format!("sqlite://{}/a%20b%25%3F.db", directory.path().display());
    let fixture = Fixture::at(&url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let bob = consumers.insert(consumer("bob")).await.unwrap();
    let health = fixture.store.health().await;
    assert!(health.reachable && !health.writer_busy);
    assert_eq!(health.path, Some(path.canonicalize().unwrap()));
    fixture.store.close().await.unwrap();
    fixture.store.close().await.unwrap();
    assert!(matches!(consumers.select(bob.id).await, Err(Error::Closed)));
    assert!(matches!(consumers.delete(bob.id).await, Err(Error::Closed)));
    assert!(!fixture.store.health().await.reachable);
    // The write-ahead log was checkpointed into the file.
    assert!(!directory.path().join("a b%?.db-wal").exists());

    let fixture = Fixture::at(&url).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    assert_eq!(consumers.select(bob.id).await.unwrap(), Some(bob));
}

#[tokio::test]
async fn an_in_memory_database_is_private_to_its_store_and_survives_failed_writes() {
    let [one, other] = [Fixture::new().await, Fixture::new().await];
    let bob = one.dao::<Consumer>().insert(consumer("bob")).await.unwrap();
    one.dao::<Consumer>()
        .insert(consumer("bob"))
        .await
        .unwrap_err();
    let panics = one
        .dao::<Consumer>()
        .update(bob.id, |_| panic!("in the closure"));
    let error = panics.await.unwrap_err();
    assert_eq!(error.to_string(), "a write panicked: in the closure");
    assert_eq!(
        one.dao::<Consumer>().select(bob.id).await.unwrap(),
        Some(bob.clone())
    );
    assert_eq!(other.dao::<Consumer>().select(bob.id).await.unwrap(), None);
    one.store.close().await.unwrap();
    let closed = one.dao::<Consumer>().select(bob.id).await;
    assert!(matches!(closed, Err(Error::Closed)), "{closed:?}");
}

#[tokio::test]
async fn what_cannot_be_opened_is_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name);
    fs::create_dir(at("directory")).unwrap();
    let not_one =
        "this is a text of more than a hundred bytes, so that it has room for a header ".repeat(9);
    fs::write(at("text"), not_one).unwrap();
    fs::write(at("linked"), "").unwrap();
    let mut cases = vec![
        (at("directory"), "it is a directory"),
        (at("no/such/directory/x.db"), "its directory cannot be used"),
        (at("text"), "file is not a database"),
    ];
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(at("nothing"), at("dangling")).unwrap();
        cases.push((at("dangling"), "it is a symbolic link to nothing"));
        fs::hard_link(at("linked"), at("other-name")).unwrap();
        cases.push((at("other-name"), "it has a second name"));
        cases.push(("/dev/null".into(), "it is not a regular file"));
    }
    #[cfg(target_os = "linux")]
    cases.push(("/proc/tidings.db".into(), "its lock file"));
    for (path, reason) in cases {
        let error = Store::open(&url(&path)).await.unwrap_err();
        let message = error.to_string();
        assert!(message.contains(reason), "{}: {message}", path.display());
        assert!(message.contains(path.to_str().unwrap()), "{message}");
    }
    assert_eq!(fs::read_dir(at("directory")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_or_directory_that_may_only_be_read_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    Store::open(&url(&path))
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let forbid = |path: &Path, readonly: bool| {
        let mut permissions = fs::metadata(path).unwrap().permissions();
        permissions.set_readonly(readonly);
        fs::set_permissions(path, permissions).unwrap();
    };
    forbid(&path, true);
    if fs::OpenOptions::new().append(true).open(&path).is_ok() {
        return; // Nothing is forbidden to this user.
    }
    let error = Store::open(&url(&path)).await.unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error:?}");
    forbid(&path, false);
    forbid(directory.path(), true);
    let error = Store::open(&url(&directory.path().join("new.db"))).await;
    forbid(directory.path(), false);
    assert!(matches!(error, Err(Error::Open { .. })), "{error:?}");
}

#[tokio::test]
async fn a_damaged_database_is_named_corrupt() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    let fixture = Fixture::at(&url(&path)).await.unwrap();
    for number in 0..200 {
        let row = consumer(&format!("{number:0300}"));
        fixture.dao().insert(row).await.unwrap();
    }
    fixture.store.close().await.unwrap();
    let whole = fs::read(&path).unwrap();
    let mut damaged = whole.clone();
    damaged[100..400].fill(0xA5); // the first page, behind the header
    fs::write(&path, damaged).unwrap();
    let error = Store::open(&url(&path)).await.unwrap_err();
    assert!(matches!(error, Error::Corrupt(_)), "{error:?}");

    let mut damaged = whole;
    let pages = damaged.len() / 4096;
    assert!(pages > 20, "{pages}");
    damaged[12 * 4096..].fill(0xA5); // rows and indexes, not the schema
    fs::write(&path, damaged).unwrap();
    let fixture = Fixture::at(&url(&path)).await.unwrap();
    let error = fixture.dao::<Consumer>().page(Default::default()).await;
    assert!(matches!(error, Err(Error::Corrupt(_))), "{error:?}");
}

#[tokio::test]
async fn a_store_is_attached_once_and_knows_what_it_was_attached_to() {
    let store = Store::open("sqlite::memory:").await.unwrap();
    assert!(matches!(store.dao::<Consumer>(), Err(Error::NotAttached)));
    let fixture = Fixture::attach(store, &schemas()).await.unwrap();
    let again = attachment(&schemas(), &fixture.sink, &ManualClock::new());
    let error = fixture.store.attach(again).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyAttached), "{error:?}");
    let error = fixture.store.table("consumer").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("there is no entity consumer; there are: consumers, ")
    );
    let sink = std::sync::Arc::new(Recorder::default());
    let store = Store::open("sqlite::memory:").await.unwrap();
    let faulty = attachment(&[Invoice::schema()], &sink, &ManualClock::new());
    let error = store.attach(faulty).await.unwrap_err();
    assert!(matches!(error, Error::Schemas(_)), "{error:?}");
}

#[tokio::test]
async fn a_file_that_was_removed_or_replaced_is_neither_read_nor_written_until_it_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tidings.db");
    let aside = directory.path().join("aside.db");
    let fixture = Fixture::at(&url(&path)).await.unwrap();
    let consumers = fixture.dao::<Consumer>();
    let row = consumers.insert(consumer("first")).await.unwrap();
    fs::rename(&path, &aside).unwrap();
    for replaced in [false, true] {
        if replaced {
            fs::copy(&aside, &path).unwrap();
        }
        let written = consumers.insert(consumer("second")).await.unwrap_err();
        assert!(matches!(written, Error::FileGone { .. }), "{written:?}");
        let read = consumers.select(row.id).await.unwrap_err();
        assert!(matches!(read, Error::FileGone { .. }), "{read:?}");
        let health = fixture.store.health().await;
        assert!(!health.reachable);
        let told = health.error.unwrap();
        assert!(told.contains(path.to_str().unwrap()), "{told}");
        assert_eq!(path.exists(), replaced, "nothing is made in its place");
    }
    fs::rename(&aside, &path).unwrap();
    consumers.insert(consumer("second")).await.unwrap();
    assert!(consumers.select(row.id).await.unwrap().is_some());
    assert!(fixture.store.health().await.reachable);
}
