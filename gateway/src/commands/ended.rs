//! [`Ended`] and [`Failure`]: how a command ends, and the exit status that says so.

use std::{
    fmt,
    io::{self, Write as _},
    process::ExitCode,
};

/// How a command that did its work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With what was asked for.
    Well,
    /// With no for an answer: not confirmed, a silent node, not there.
    WithNo,
}

/// Why a command failed, in one line.
#[derive(Debug)]
pub(super) struct Failure {
    reason: Reason,
    message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reason {
    /// The node says no.
    Refused,
    /// The call is wrong.
    WrongUse,
    /// The node, or what it needs, cannot be reached.
    Unreachable,
    /// No one reads the output any more: nothing is wrong.
    Unread,
}

impl Ended {
    /// Returns [`Well`](Self::Well) if the condition holds, [`WithNo`](Self::WithNo) otherwise.
    pub(super) fn well_if(holds: bool) -> Self {
        if holds { Self::Well } else { Self::WithNo }
    }

    /// Returns the same end once its output was written; a reader that has gone does not change it.
    pub(super) fn after(self, written: Result<(), Failure>) -> Result<Self, Failure> {
        match written {
            Ok(()) => Ok(self),
            Err(failure) if failure.reason == Reason::Unread => Ok(self),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the program's exit status.
    pub(super) fn status(self) -> ExitCode {
        match self {
            Self::Well => ExitCode::SUCCESS,
            Self::WithNo => ExitCode::from(1),
        }
    }
}

impl Failure {
    pub(super) fn refused(message: impl Into<String>) -> Self {
        Self::new(Reason::Refused, message)
    }

    pub(super) fn wrong_use(message: impl Into<String>) -> Self {
        Self::new(Reason::WrongUse, message)
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Reason::Unreachable, message)
    }

    /// Makes the failure of a command whose output no one reads; it prints nothing.
    pub(super) fn unread() -> Self {
        Self::new(Reason::Unread, "")
    }

    fn new(reason: Reason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { reason, message }
    }

    /// Returns whether the failure may pass: the node could not be reached.
    pub(super) fn is_passing(&self) -> bool {
        self.reason == Reason::Unreachable
    }

    /// Prints what went wrong, and returns the program's exit status.
    pub(super) fn report(&self) -> ExitCode {
        let status = match self.reason {
            Reason::Unread => return ExitCode::SUCCESS,
            Reason::Refused => 1,
            Reason::WrongUse => 2,
            Reason::Unreachable => 3,
        };
        // Nothing is left to try when the terminal is gone.
        let _ = writeln!(io::stderr(), "tidings: {self}");
        ExitCode::from(status)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Prints a line that is not part of the answer.
pub(super) fn notice(line: &str) {
    // Nothing is left to try when the terminal is gone.
    let _ = writeln!(io::stderr(), "tidings: {line}");
}

/// Prints why a command line is not understood, or the help or version that it asks for. Returns
/// the exit status.
pub(super) fn usage(error: &clap::Error) -> ExitCode {
    // A reader that has gone is no reason to fail.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
