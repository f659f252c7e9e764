//! Converts a server's answers to values. An answer of another form is an error, never a panic.

use redis::{ErrorKind, RedisError, Value};

/// The parts of an answer that is a list, taken one by one.
pub(super) struct Parts(std::vec::IntoIter<Value>);

impl Parts {
    /// Takes a list apart.
    pub(super) fn of(answer: Value) -> Result<Self, RedisError> {
        match answer {
            Value::Array(parts) => Ok(Self(parts.into_iter())),
            _ => Err(unexpected("expected a list")),
        }
    }

    /// Takes the next part.
    pub(super) fn next(&mut self) -> Result<Value, RedisError> {
        self.0.next().ok_or_else(|| unexpected("a part is missing"))
    }

    pub(super) fn bytes(&mut self) -> Result<Vec<u8>, RedisError> {
        bytes(self.next()?)
    }

    pub(super) fn text(&mut self) -> Result<String, RedisError> {
        text(self.next()?)
    }

    pub(super) fn number(&mut self) -> Result<u64, RedisError> {
        let text = self.text()?;
        text.parse().map_err(|_| unexpected("expected a number"))
    }

    pub(super) fn list(&mut self) -> Result<Self, RedisError> {
        Self::of(self.next()?)
    }

    /// Returns whether nothing is left.
    pub(super) fn is_over(&self) -> bool {
        self.0.len() == 0
    }
}

pub(super) fn bytes(value: Value) -> Result<Vec<u8>, RedisError> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        _ => Err(unexpected("expected a text")),
    }
}

pub(super) fn text(value: Value) -> Result<String, RedisError> {
    String::from_utf8(bytes(value)?).map_err(|_| unexpected("expected a text in UTF-8"))
}

pub(super) fn unexpected(what: &'static str) -> RedisError {
    RedisError::from((ErrorKind::UnexpectedReturnType, what))
}
