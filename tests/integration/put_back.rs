//! A database file whose content was put back, and two nodes on it that do not know that: numbers
//! are handed out again in the same epoch.
//!
//! Each node has a thread of execution of its own, and runs only while the test says so: the reader
//! has reached numbers that the file has lost, and the writer has not.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tempfile::TempDir;
use tidings::{ChangeFeedOptions, Fed, GetOptions, Node, Token, WriteReceipt};
use tokio::runtime::Runtime;

use crate::{
    heard::{Owner, Thing, thing},
    other_programs::sqlite::File,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// A node, and all that runs it.
struct Frozen {
    node: Node,
    runtime: Runtime,
}

impl Frozen {
    /// Starts a node that looks at the log when it is woken, or asked.
    fn start(file: &File) -> Self {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_all().build().expect("a runtime");
        let node = runtime.block_on(async {
            let node = Node::builder()
                .store(file.shared().await)
                .entity::<Owner>()
                .entity::<Thing>()
                .log_poll(Duration::from_secs(60));
            node.start().await.expect("a node")
        });
        Self { node, runtime }
    }

    fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Writes a note, and returns the receipt.
    fn write(&self, note: &'static str) -> WriteReceipt {
        let things = self.node.dao::<Thing>().expect("declared");
        let update = things.update(1, move |thing| thing.note = Some(note.to_owned()));
        let (updated, receipt) = self.run(self.node.with_receipt(update));
        updated.expect("updated");
        receipt
    }

    /// Returns the name of all that the database has by now.
    fn now(&self) -> Token {
        self.run(async {
            let ((), receipt) = self.node.with_receipt(async {}).await;
            receipt.position().await.expect("a position")
        })
    }

    /// Follows the log as far as it goes.
    fn catch_up(&self) {
        let now = self.now();
        let reached = self.run(self.node.at_least(&now, PATIENCE));
        reached.expect("it follows the log");
    }

    async fn note(&self) -> Option<String> {
        let things = self.node.dao::<Thing>().expect("declared");
        let key = things.cache_key(&["t1"]).expect("one part");
        let load = || things.select_by("code", "t1".to_owned());
        let found = self.node.cache().get(&key, GetOptions::default(), load);
        let found: Option<Arc<Thing>> = found.await.expect("a load");
        found.and_then(|thing| thing.note.clone())
    }
}

/// Two nodes; the reader is at a position that the file does not hold any more.
struct PutBack {
    file: File,
    _folder: TempDir,
    copy: PathBuf,
    writer: Frozen,
    reader: Frozen,
}

impl PutBack {
    /// A row, a copy of the file, and changes since then that only the reader has read.
    fn prepare() -> Self {
        let file = File::new();
        let (writer, reader) = (Frozen::start(&file), Frozen::start(&file));
        let things = writer.node.dao::<Thing>().expect("declared");
        let inserted = writer.run(things.insert(thing(1, "a")));
        inserted.expect("inserted");
        writer.catch_up();

        let folder = tempfile::tempdir().expect("a folder");
        let copy = folder.path().join("copy.db");
        file.sqlite3(&format!(".backup {}\n", copy.display()));
        for later in ["b", "c", "d"] {
            file.sqlite3(&format!("UPDATE things SET note = '{later}'"));
        }
        reader.catch_up();
        assert_eq!(reader.run(reader.note()).as_deref(), Some("d"));
        Self {
            file,
            _folder: folder,
            copy,
            writer,
            reader,
        }
    }

    fn put_back(&self) {
        let restore = format!(".restore {}\n", self.copy.display());
        self.file.sqlite3(&restore);
    }
}

#[test]
fn a_node_that_has_not_heard_of_it_takes_no_position_for_reached_that_it_has_not_read() {
    let nodes = PutBack::prepare();
    nodes.put_back();
    let receipt = nodes.writer.write("e");
    let position = nodes.writer.run(receipt.position()).expect("a position");
    let note = nodes.reader.run(async {
        let reached = nodes.reader.node.at_least(&position, PATIENCE).await;
        reached.expect("it follows the log");
        nodes.reader.note().await
    });
    assert_eq!(note.as_deref(), Some("e"));
}

#[test]
fn a_feed_that_goes_on_from_a_place_of_what_was_lost_begins_with_a_gap() {
    let nodes = PutBack::prepare();
    let place = nodes.reader.now();
    nodes.put_back();
    for note in ["e", "f", "g", "h"] {
        drop(nodes.writer.write(note));
    }
    let told = nodes.writer.run(async {
        let start = nodes.writer.node.feed_start(&place).expect("it says where");
        let options = ChangeFeedOptions::new().after(start);
        let mut feed = nodes.writer.node.change_feed(options).expect("a free seat");
        let next = tokio::time::timeout(PATIENCE, feed.next()).await;
        next.expect("it tells").expect("the node runs")
    });
    assert!(matches!(told, Fed::Gap(_)), "{told:?}");
}
