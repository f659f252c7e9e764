//! [`Parser`]: server-sent events, from the bytes of a stream.
//!
//! Lines end with a line feed, a carriage return or both. Unknown fields and events without data
//! are left out, as the format demands. The size of an event is bounded: a larger one ends the
//! stream.

use std::mem;

/// The most bytes of one event.
const MOST: usize = 16 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Event {
    /// Its place in the stream: its own, or else that of the last event that had one.
    pub(super) id: Option<String>,
    /// Its name; `message` if it has none.
    pub(super) name: String,
    /// Its lines of data, with line feeds between them.
    pub(super) data: String,
}

/// Assembles events from the bytes of a stream, in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Parser {
    /// The line that has not ended yet.
    line: Vec<u8>,
    /// Whether the last line ended with a carriage return, whose line feed may still come.
    after_return: bool,
    id: Option<String>,
    name: Option<String>,
    data: Option<String>,
    size: usize,
}

/// An event is longer than the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {MOST} bytes")]
pub(super) struct TooLong;

impl Parser {
    /// Takes bytes, and returns the events that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for &byte in bytes {
            let after_return = mem::take(&mut self.after_return);
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    self.after_return = byte == b'\r';
                    events.extend(self.line());
                }
                _ => {
                    self.size += 1;
                    if self.size > MOST {
                        return Err(TooLong);
                    }
                    self.line.push(byte);
                }
            }
        }

        Ok(events)
    }

    /// Takes the line that has ended; an empty one ends an event.
    fn line(&mut self) -> Option<Event> {
        let line = mem::take(&mut self.line);
        if line.is_empty() {
            self.size = 0;
            let name = self.name.take();
            return self.data.take().map(|data| Event {
                id: self.id.clone(),
                name: name.unwrap_or_else(|| "message".to_owned()),
                data,
            });
        }

        let line = String::from_utf8_lossy(&line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "event" => self.name = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, or a field of a later version of the format.
            _ => {}
        }

        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: Option<&str>, name: &str, data: &str) -> Event {
        Event {
            id: id.map(str::to_owned),
            name: name.to_owned(),
            data: data.to_owned(),
        }
    }

    #[test]
    fn events_are_the_same_however_the_stream_is_cut() {
        let text = ": hello\n\nid: 7\nevent: change\ndata: {\"a\":\r\ndata:\u{fc}}\r\n\r\nretry: 3\rdata\r\rid: 8\n\nevent: gap\ndata: x\n\ndata: cut";
        let expected = [
            event(Some("7"), "change", "{\"a\":\n\u{fc}}"),
            event(Some("7"), "message", ""),
            event(Some("8"), "gap", "x"),
        ];
        for step in 1..=text.len() {
            let mut parser = Parser::default();
            let parts = text.as_bytes().chunks(step);
            let events: Vec<_> = parts
                .flat_map(|part| parser.push(part).expect("short"))
                .collect();
            assert_eq!(events, expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn an_event_without_an_end_is_refused() {
        let mut parser = Parser::default();
        let line = [&b"data: "[..], &[b'x'; 1 << 20], b"\n"].concat();
        let refused = (0..17).find_map(|_| parser.push(&line).err());
        assert_eq!(refused, Some(TooLong));
    }
}
