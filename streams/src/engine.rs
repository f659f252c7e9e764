//! [`Engine`]: what a log needs of a stream server.
//!
//! An engine keeps two things. The *stream* is a row of records with numbers, each exactly one
//! higher than the one before; it is trimmed from its beginning. The *table* beside it is a few
//! small named values, which trimming leaves alone. The value [`EPOCH`] names the epoch of the
//! stream, in the words of [`epoch_text`](crate::wire::epoch_text); the others are the members'.
//!
//! An engine knows neither what a record says nor what a cursor is: it hands out bytes. Whether a
//! reader has missed anything is decided above it, by the records themselves.

use std::{fmt, time::Duration};

use tidings_core::log::{Epoch, LogError, LogFuture, Wake, WakeUps};

/// The name of the value that holds the epoch.
pub const EPOCH: &str = "epoch";

/// What an engine returns.
pub type Answer<'a, T> = LogFuture<'a, Result<T, LogError>>;

/// A stream on a server, and the table beside it.
///
/// Every call ends within the engine's own limit of time, with [`LogError::Unreachable`] if it was
/// not answered, and connects first if need be. Calls may be dropped.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Returns its name in logs and answers, such as `redis`.
    fn name(&self) -> &'static str;

    /// Returns how many bytes a record may have at most.
    fn largest(&self) -> usize;

    /// Returns how often the engine has connected so far. It is higher after anything that can hide
    /// a server which has lost records: a new connection, another server behind the same address.
    fn connections(&self) -> u64;

    /// Reads what the stream is now: its epoch, its bounds, its newest record.
    fn look(&self) -> Answer<'_, Look>;

    /// Reads records from a number on, that one included, at most `limit` of them and roughly at
    /// most `bytes`, but always one if there is any; and values of the table.
    ///
    /// All of it is read after the call began. If records are returned, the first has the number
    /// asked for or the stream no longer holds that one, and each further one is the next: an
    /// engine that cannot be sure fails. [`Page::last`] is not older than the records.
    fn read<'a>(
        &'a self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &'a [&'a str],
    ) -> Answer<'a, Page>;

    /// Appends a record, if the stream is of this epoch and has a record.
    ///
    /// [`Appended::At`] says that the stream was of this epoch when the record had its number. An
    /// engine that cannot ask and append in one step asks once the record was acknowledged: if the
    /// epoch has changed, the answer is [`Appended::Moved`] although the record is there, and the
    /// caller appends again.
    ///
    /// # Errors
    ///
    /// [`LogError::InDoubt`] once the record was sent and its answer is lost.
    fn append<'a>(&'a self, epoch: Epoch, record: &'a [u8]) -> Answer<'a, Appended>;

    /// Puts an epoch in the place of another (none: of no epoch at all), and appends the record
    /// that says so. Does neither if the epoch is not `over`, and says what it is.
    ///
    /// Of several callers that put an epoch in the place of the same one, one succeeds.
    fn begin<'a>(
        &'a self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &'a [u8],
    ) -> Answer<'a, Begun>;

    /// Removes records that are older than this, by the server's time, but never the newest one.
    /// Returns how many; 0 from a server that does so by itself.
    fn trim(&self, retention: Duration) -> Answer<'_, u64>;

    /// Lists the values of the table.
    fn values(&self) -> Answer<'_, Vec<(String, Held)>>;

    /// Reads one value.
    fn value<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Held>>;

    /// Writes a value, or removes it, if the one that is there is as expected. The write is durable
    /// as far as the server's settings make it. Returns whether it was written.
    fn replace<'a>(
        &'a self,
        name: &'a str,
        expected: Expected,
        value: Option<&'a str>,
    ) -> Answer<'a, Written>;

    /// Starts to listen: from now on every record that is appended, and every
    /// [`nudge`](Self::nudge), is a wake-up, the own ones perhaps among them.
    ///
    /// A listener has a connection of its own, and ends with an error once that is silent.
    fn listen(&self) -> Answer<'_, Box<dyn WakeUps>>;

    /// Wakes those that listen. Never waits; it may be lost.
    fn nudge(&self, wake: Wake);
}

/// What a stream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its epoch; none if it was not begun, or the table was lost.
    pub epoch: Option<Epoch>,
    /// The number of the oldest record; 0 if there is none.
    pub first: u64,
    /// The newest record; none if there is none.
    pub newest: Option<Entry>,
    /// The server's time in microseconds since 1970, or this process's if the server tells none.
    pub now: u64,
}

/// A record as the stream holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1 on.
    pub number: u64,
    /// What was appended.
    pub bytes: Vec<u8>,
}

/// What a read returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The epoch of the stream.
    pub epoch: Option<Epoch>,
    /// The number of the oldest record; 0 if there is none.
    pub first: u64,
    /// The number of the newest record; 0 if there is none and never was.
    pub last: u64,
    /// The records.
    pub entries: Vec<Entry>,
    /// The values that were asked for, in the order of the question.
    pub values: Vec<Option<String>>,
}

/// How an append ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The record has this number.
    At(u64),
    /// The stream is of another epoch, or of none, or has no record.
    Moved,
}

/// How the beginning of an epoch ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The record of the new epoch has this number.
    At(u64),
    /// The epoch was this one and not the expected one.
    Is(Option<Epoch>),
}

/// A value of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// What was written.
    pub value: String,
    /// Another one after each change of this value.
    pub revision: u64,
}

/// Which value a write expects to find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Any, or none.
    Any,
    /// None.
    Absent,
    /// This one.
    Revision(u64),
}

/// Whether a value was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// It was.
    Yes,
    /// Another value is there than was expected.
    No,
}

/// Makes the error of a call whose effect is unknown: what was asked for may be done, but the
/// answer cannot be relied on.
pub(crate) fn in_doubt(error: LogError) -> LogError {
    match error {
        LogError::Unreachable(error) => LogError::InDoubt(error),
        other => LogError::InDoubt(other.into()),
    }
}
