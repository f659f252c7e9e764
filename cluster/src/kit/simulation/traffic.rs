//! [`Traffic`]: how many messages pass, and how many bytes they carry.
//!
//! Counted is the payload as text, without what a driver or a protocol puts around it.

use std::sync::atomic::{AtomicU64, Ordering};

use tidings_core::{
    Value,
    log::{Body, Cursor, Fields, MemberId, MemberRow, Read, Wake},
};

/// Why a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A wake-up from node to node.
    Wake,
    /// A question to the log, or its answer.
    Read,
    /// A question to the table of members, or its answer.
    Member,
}

/// Messages and bytes of each kind.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    messages: [AtomicU64; 3],
    bytes: [AtomicU64; 3],
}

/// The messages and bytes that have passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Passed {
    pub(super) wakes: u64,
    pub(super) reads: u64,
    pub(super) of_members: u64,
    pub(super) bytes: u64,
}

impl Traffic {
    pub(super) fn message(&self, kind: Kind, bytes: usize) {
        let index = kind as usize;
        self.messages[index].fetch_add(1, Ordering::Relaxed);
        self.bytes[index].fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns what has passed since the last time.
    pub(super) fn take(&self) -> Passed {
        let count = |kind: Kind| self.messages[kind as usize].swap(0, Ordering::Relaxed);
        Passed {
            wakes: count(Kind::Wake),
            reads: count(Kind::Read),
            of_members: count(Kind::Member),
            bytes: self
                .bytes
                .iter()
                .map(|it| it.swap(0, Ordering::Relaxed))
                .sum(),
        }
    }
}

pub(super) fn of_wake(wake: &Wake) -> usize {
    match wake {
        Wake::Committed { mark, keys } => mark.to_string().len() + 16 * keys.len(),
        Wake::Look | Wake::Reported | Wake::Sealed(_) => wake.word().len(),
    }
}

pub(super) fn of_cursor(cursor: &Cursor) -> usize {
    cursor.to_string().len()
}

pub(super) fn of_member(member: Option<&MemberId>) -> usize {
    // A name, a start as it is written, and a number.
    member.map_or(0, |member| member.node.len() + 36 + 8)
}

pub(super) fn of_row(row: &MemberRow) -> usize {
    of_member(Some(&row.id)) + row.reported.as_ref().map_or(0, of_cursor) + 16
}

pub(super) fn of_read(read: &Read) -> usize {
    match read {
        Read::Batch(batch) => {
            let records = batch.records.iter().map(|record| of_body(&record.body));
            of_cursor(&batch.cursor) + records.sum::<usize>()
        }
        Read::Gap(_) => 1,
    }
}

/// A record's position, mark and origin, and what it holds.
fn of_body(body: &Body) -> usize {
    let held = match body {
        Body::Row(row) => row.entity.len() + of_fields(&row.old) + of_fields(&row.new),
        Body::Entity(entity) => entity.len(),
        Body::Evict(_) | Body::Event(_) | Body::Unreadable { .. } => 0,
    };
    2 * 8 + 36 + held
}

fn of_fields(fields: &Fields) -> usize {
    let size = |value: &Value| match value {
        Value::Text(text) => text.len(),
        _ => 8,
    };
    fields.iter().map(|(_, value)| size(value)).sum()
}
