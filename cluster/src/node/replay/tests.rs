//! Readers that hold pages.

use futures_util::FutureExt as _;
use tidings_core::Row;

use super::*;
use crate::{
    kit::{Durability, Form, MemoryLog, ModelStore, Writing},
    node::{
        dispatch::tests::{Counting, idle, schema},
        replays::HELD,
    },
};

#[tokio::test]
async fn few_readers_hold_a_page_and_the_next_waits_until_one_has_told_its_own() {
    for form in [Form::Counted, Form::Snapshot] {
        let store = ModelStore::new(form, 1);
        let log = MemoryLog::new(store.clone());
        let protocol = idle(log.clone(), &Arc::new(Counting::default()));
        let from = log.head(None).await.expect("an answer").cursor;
        for id in 0..3_i64 {
            let transaction = store.begin();
            let row = Row(vec![id.into(), 1_i64.into()]);
            let put = store.put(transaction, schema(), row, &Writing::default());
            put.expect("no one else writes");
            let committed = store.commit(transaction, Durability::Synchronous);
            committed.expect("a commit");
        }
        let head = log.head(None).await.expect("an answer").cursor;
        protocol.shared().seen.set(head);

        let from = Place(from);
        let open = || protocol.replay(Arc::new(log.clone()), &from);
        let mut readers: Vec<_> = (0..HELD).map(|_| open()).collect();
        for reader in &mut readers {
            let page = reader.next().now_or_never();
            assert!(matches!(page, Some(Replayed::End(told)) if told.len() == 3));
        }
        let mut late = open();
        assert!(late.next().now_or_never().is_none(), "{form:?}");
        readers[0].release();
        let page = late.next().now_or_never();
        assert!(matches!(page, Some(Replayed::End(told)) if told.len() == 3));

        // A reader that goes releases its own page, and a page without items does not count.
        drop(readers.pop());
        for _ in 0..2 {
            let page = late.next().now_or_never();
            assert!(matches!(page, Some(Replayed::End(told)) if told.is_empty()));
        }
        let page = open().next().now_or_never();
        assert!(matches!(page, Some(Replayed::End(_))));
    }
}
