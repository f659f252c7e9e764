//! [`Engine`]: what a log needs from a stream server.
//!
//! An engine keeps two things. The *stream* is a sequence of records with numbers, each exactly one
//! higher than the one before; it is trimmed from its beginning. The *table* beside it holds a few
//! small named values, which trimming does not touch. The value [`EPOCH`] names the epoch of the
//! stream, in the form of [`epoch_text`](crate::wire::epoch_text); the others belong to the
//! members.
//!
//! An engine knows neither the contents of a record nor cursors: it returns bytes. The layer above
//! decides by the records themselves whether a reader has missed anything.

use std::{fmt, time::Duration};

use tidings_core::log::{Epoch, LogError, LogFuture, Wake, WakeUps};

/// The name of the value that holds the epoch.
pub const EPOCH: &str = "epoch";

/// What an engine returns.
pub type Answer<'a, T> = LogFuture<'a, Result<T, LogError>>;

/// A stream on a server, and the table beside it.
///
/// Every call ends within the engine's own time limit, with [`LogError::Unreachable`] if it was not
/// answered, and connects first if necessary. Calls may be dropped.
pub trait Engine: fmt::Debug + Send + Sync + 'static {
    /// Returns its name in logs and answers, such as `redis`.
    fn name(&self) -> &'static str;

    /// Returns the maximum number of bytes of a record.
    fn largest(&self) -> usize;

    /// Returns how often the engine has connected so far. It is higher after anything that can hide
    /// a server which has lost records: a new connection, another server behind the same address.
    fn connections(&self) -> u64;

    /// Reads the state of the stream: its epoch, its bounds, its newest record.
    fn look(&self) -> Answer<'_, Look>;

    /// Reads records, beginning with the given number: at most `limit` of them and roughly at most
    /// `bytes`, but always one if there is any. Also reads values of the table.
    ///
    /// Everything is read after the call began. If records are returned, the first has the
    /// requested number, unless the stream no longer holds that record, and each further one is the
    /// next. An engine that cannot guarantee this fails. [`Page::last`] is not older than the
    /// records.
    fn read<'a>(
        &'a self,
        from: u64,
        limit: usize,
        bytes: usize,
        values: &'a [&'a str],
    ) -> Answer<'a, Page>;

    /// Appends a record, if the stream is of this epoch and has a record.
    ///
    /// [`Appended::At`] means that the stream was of this epoch when the record got its number. An
    /// engine that cannot check and append in one step checks once the record is acknowledged. If
    /// the epoch has changed by then, the answer is [`Appended::Moved`], although the stream has
    /// the record, and the caller appends again.
    ///
    /// # Errors
    ///
    /// [`LogError::InDoubt`] once the record was sent and its answer is lost.
    fn append<'a>(&'a self, epoch: Epoch, record: &'a [u8]) -> Answer<'a, Appended>;

    /// Replaces an epoch (`None`: no epoch at all) with another, and appends the record that begins
    /// it. If the current epoch is not `over`, does neither, and returns the current one.
    ///
    /// Of several callers that replace the same epoch, one succeeds.
    fn begin<'a>(
        &'a self,
        over: Option<Epoch>,
        epoch: Epoch,
        record: &'a [u8],
    ) -> Answer<'a, Begun>;

    /// Removes records that are older than this, by the server's time, but never the newest one.
    /// Returns how many were removed; 0 if the server does so by itself.
    fn trim(&self, retention: Duration) -> Answer<'_, u64>;

    /// Lists the values of the table.
    fn values(&self) -> Answer<'_, Vec<(String, Held)>>;

    /// Reads one value.
    fn value<'a>(&'a self, name: &'a str) -> Answer<'a, Option<Held>>;

    /// Writes or removes a value, if the present one is as expected. The write is as durable as the
    /// server's settings make it. Returns whether it was written.
    fn replace<'a>(
        &'a self,
        name: &'a str,
        expected: Expected,
        value: Option<&'a str>,
    ) -> Answer<'a, Written>;

    /// Starts to listen: from now on every appended record and every [`nudge`](Self::nudge) is a
    /// wake-up, possibly including this node's own.
    ///
    /// A listener has a connection of its own, and ends with an error if that connection goes
    /// silent.
    fn listen(&self) -> Answer<'_, Box<dyn WakeUps>>;

    /// Wakes the listeners. Never waits. The nudge may be lost.
    fn nudge(&self, wake: Wake);
}

/// The state of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// Its epoch; `None` if none was begun, or the table was lost.
    pub epoch: Option<Epoch>,
    /// The number of the oldest record; 0 if there is none.
    pub first: u64,
    /// The newest record; `None` if there is none.
    pub newest: Option<Entry>,
    /// The server's time in microseconds since 1970, or this process's time if the server does not
    /// report one.
    pub now: u64,
}

/// A record in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its number, from 1 on.
    pub number: u64,
    /// The appended bytes.
    pub bytes: Vec<u8>,
}

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The epoch of the stream.
    pub epoch: Option<Epoch>,
    /// The number of the oldest record; 0 if there is none.
    pub first: u64,
    /// The number of the newest record; 0 if there never was one.
    pub last: u64,
    /// The records.
    pub entries: Vec<Entry>,
    /// The requested values, in the order of the request.
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
    /// The written bytes.
    pub value: String,
    /// The revision, which differs after each change of this value.
    pub revision: u64,
}

/// The value that a write expects to find.
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
    /// The present value is not the expected one.
    No,
}

/// Returns the error of a call with an unknown effect: the server may have done it, but its answer
/// cannot be relied on.
pub(crate) fn in_doubt(error: LogError) -> LogError {
    match error {
        LogError::Unreachable(error) => LogError::InDoubt(error),
        other => LogError::InDoubt(other.into()),
    }
}
