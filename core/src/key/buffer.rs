//! The text of a key while it is built, and its hash when it is done.

use std::{fmt, hash::Hasher};

use super::{CacheKey, INLINE, Text, secret};

/// Text that spills to the heap when it outgrows [`INLINE`].
#[derive(Debug)]
pub(super) struct Buffer {
    len: usize,
    inline: [u8; INLINE],
    spilled: String,
}

impl Buffer {
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            len: 0,
            inline: [0; INLINE],
            spilled: String::new(),
        }
    }

    #[inline]
    pub(super) fn push(&mut self, text: &str) {
        match self.inline.get_mut(self.len..self.len + text.len()) {
            Some(room) if self.spilled.is_empty() => {
                room.copy_from_slice(text.as_bytes());
                self.len += text.len();
            }
            _ => self.spill(text),
        }
    }

    /// Continues on the heap, where everything is kept from the first text that does not fit
    /// inline.
    #[cold]
    fn spill(&mut self, text: &str) {
        if self.spilled.is_empty() {
            // Whole strs were copied in, so what is there is UTF-8.
            let inline = std::str::from_utf8(&self.inline[..self.len]);
            self.spilled
                .push_str(inline.expect("a key is made of strs"));
        }
        self.spilled.push_str(text);
    }

    #[inline]
    pub(super) fn finish(self) -> CacheKey {
        if self.spilled.is_empty() {
            // `len <= INLINE < 256`, so the cast keeps it whole.
            CacheKey {
                hash: hash(&self.inline[..self.len]),
                text: Text::Inline {
                    len: self.len as u8,
                    bytes: self.inline,
                },
            }
        } else {
            CacheKey {
                hash: hash(self.spilled.as_bytes()),
                text: Text::Heap(self.spilled.into_boxed_str()),
            }
        }
    }
}

/// Hashes the text alone and not its length: SipHash ends with the length anyhow.
fn hash(text: &[u8]) -> u64 {
    let mut hasher = secret::hasher();
    hasher.write(text);
    hasher.finish()
}

impl fmt::Write for Buffer {
    /// Appends text. Never fails.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.push(text);
        Ok(())
    }
}
