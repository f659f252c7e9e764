//! [`CacheKey`]: the key of one cached value: injective text, hashed once.
//!
//! The text of a key is `name`, then one `:part` for each part. Within the name and the parts the
//! bytes that carry structure (`:`, `%`, `~`, `@`) and control bytes are percent-encoded, and an
//! absent part is a lone `~`. So different tuples never share a text, whatever their parts hold,
//! and an absent part differs from an empty one. The key of a row by its primary key is
//! `name@part`, which no tuple of parts can spell. The key of a row by other fields is
//! `name@field:part`, which neither of the other forms can spell. The key of a row by a primary key
//! of several parts is that of a field without a name, `name@:part:part`: no field has such a name.
//!
//! A key of up to [`INLINE`] bytes lives on the stack: building one does not allocate. The hash is
//! SipHash-1-3 under a secret drawn once per process, so keys cannot be chosen to collide; it
//! is computed when the key is built, and every level of the cache reuses it.

// The secret of the hashes. Must not know a key.
mod secret;

// Masks for the secrets in keys. Must not know a key.
mod mask;

// The bytes of one key, and the hash over them.
mod buffer;

use std::{
    fmt::{self, Write as _},
    hash::{Hash, Hasher},
};

use uuid::Uuid;

use self::buffer::Buffer;
pub use self::{
    mask::mask_keys,
    secret::{SecretInUse, set_key_secret},
};
use crate::timestamp::{Timestamp, TimestampMicros};

/// The longest key, in bytes of text, that is stored without an allocation.
pub const INLINE: usize = 94;

/// The key of one cached value: injective text and its hash.
///
/// Cloning costs a copy of [`INLINE`] bytes, or an allocation for a longer key.
///
/// # Examples
///
/// ```
/// use tidings_core::CacheKey;
///
/// let key = CacheKey::new("permissions", &["alice", "read"]);
/// assert_eq!(key.as_str(), "permissions:alice:read");
/// assert_ne!(CacheKey::new("k", &["a:b", "c"]), CacheKey::new("k", &["a", "b:c"]));
/// assert_ne!(CacheKey::new("k", &[None::<&str>]), CacheKey::new("k", &[""]));
/// ```
#[derive(Clone)]
// The hash lies beside the text's beginning: a comparison reads both, and few texts reach the end
// of the buffer.
#[repr(C)]
pub struct CacheKey {
    hash: u64,
    text: Text,
}

#[derive(Clone)]
enum Text {
    /// The first `len` bytes are UTF-8: only [`KeyBuilder`] writes them, and only from `char`s and
    /// `str`s.
    Inline {
        len: u8,
        bytes: [u8; INLINE],
    },
    Heap(Box<str>),
}

impl CacheKey {
    /// Makes a key from a name and a tuple of parts.
    ///
    /// Allocates only when the text is longer than [`INLINE`] bytes.
    #[must_use]
    #[inline]
    pub fn new<P: KeyPart>(name: &str, parts: &[P]) -> Self {
        let mut builder = KeyBuilder::new(name);
        for part in parts {
            builder.push(part);
        }
        builder.finish()
    }

    /// Makes the key of a row by its primary key: `name@part`.
    #[must_use]
    pub fn primary<P: KeyPart>(name: &str, part: P) -> Self {
        let mut builder = KeyBuilder::new(name);
        builder.text.push("@");
        part.write(&mut builder);
        builder.finish()
    }

    /// Makes the key of a row by its primary key of one part, `name@part`, or of several:
    /// `name@:part:part`.
    #[must_use]
    pub fn primary_of<P: KeyPart>(name: &str, parts: &[P]) -> Self {
        if let [part] = parts {
            return Self::primary(name, part);
        }
        let key = Self::by_fields(name, &[""]);
        parts.iter().fold(key, KeyBuilder::part).finish()
    }

    /// Starts a key whose parts are of different types.
    pub fn builder(name: &str) -> KeyBuilder {
        KeyBuilder::new(name)
    }

    /// Starts the key of a row by the named fields, for a name whose rows are cached under several
    /// keys: `name@a@b`, then one `:part` for each field.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_core::CacheKey;
    ///
    /// let key = CacheKey::by_fields("consumers", &["username"]).part("bob").finish();
    /// assert_eq!(key.as_str(), "consumers@username:bob");
    /// assert_ne!(key, CacheKey::primary("consumers", "username:bob"));
    /// ```
    pub fn by_fields<F: AsRef<str>>(name: &str, fields: &[F]) -> KeyBuilder {
        let mut builder = KeyBuilder::new(name);
        for field in fields {
            builder.text.push("@");
            builder.escaped(field.as_ref());
        }
        builder
    }

    /// Takes a key's text as it was printed, for example from the path of a request.
    ///
    /// The text is not checked: one that no builder makes is simply a key that nothing is cached
    /// under.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut buffer = Buffer::new();
        buffer.push(text);
        buffer.finish()
    }

    /// Returns the key's text.
    #[inline]
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.text {
            Text::Inline { len, bytes } => {
                // As the field says, they are UTF-8; forbidding unsafe code costs this check.
                std::str::from_utf8(&bytes[..usize::from(*len)]).expect("a key is made of strs")
            }
            Text::Heap(text) => text,
        }
    }

    /// Returns the key's text as it may be shown to anyone: secrets are masked, as far as
    /// [`mask_keys`] was told of them.
    #[must_use]
    pub fn to_shown(&self) -> String {
        mask::shown(self.as_str())
    }

    /// Returns the key's text as bytes; cheaper than [`as_str`](Self::as_str).
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.text {
            Text::Inline { len, bytes } => &bytes[..usize::from(*len)],
            Text::Heap(text) => text.as_bytes(),
        }
    }

    /// Returns the hash under this process's secret.
    #[inline]
    #[must_use]
    pub fn hash_value(&self) -> u64 {
        self.hash
    }
}

impl PartialEq for CacheKey {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash && self.as_bytes() == other.as_bytes()
    }
}

impl Eq for CacheKey {}

impl Hash for CacheKey {
    /// Writes the stored hash, one `u64`: a map of keys wants a hasher that passes it through.
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}

impl fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CacheKey({})", self.as_str())
    }
}

impl fmt::Display for CacheKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Builds a [`CacheKey`] part by part.
///
/// # Examples
///
/// ```
/// use tidings_core::CacheKey;
///
/// let key = CacheKey::builder("quotas").part("alice").part(&7_i64).part(&None::<bool>).finish();
/// assert_eq!(key.as_str(), "quotas:alice:7:~");
/// ```
#[derive(Debug)]
#[must_use]
pub struct KeyBuilder {
    text: Buffer,
}

// What builds a plain key is inlined into the caller, whose buffer then becomes the key without
// being copied from frame to frame: that, and not the hash, was most of the cost of a key.
impl KeyBuilder {
    #[inline]
    fn new(name: &str) -> Self {
        let mut builder = Self {
            text: Buffer::new(),
        };
        builder.escaped(name);
        builder
    }

    /// Adds one part.
    #[inline]
    pub fn push<P: KeyPart + ?Sized>(&mut self, part: &P) {
        self.text.push(":");
        part.write(self);
    }

    /// Adds one part, for chaining.
    pub fn part<P: KeyPart + ?Sized>(mut self, part: &P) -> Self {
        self.push(part);
        self
    }

    /// Hashes the text and returns the key.
    #[inline]
    pub fn finish(self) -> CacheKey {
        self.text.finish()
    }

    /// Writes text with the structural bytes percent-encoded.
    #[inline]
    fn escaped(&mut self, text: &str) {
        // Without a branch in the loop, so that it looks at many bytes at once.
        let plain = !text.bytes().fold(false, |any, byte| any | structural(byte));
        if plain {
            self.text.push(text);
        } else {
            self.percent_encoded(text);
        }
    }

    /// Writes what [`escaped`](Self::escaped) cannot copy whole: the slow path. A run of plain
    /// bytes is still copied as one.
    #[cold]
    fn percent_encoded(&mut self, text: &str) {
        let mut rest = text;
        while let Some(at) = rest.bytes().position(structural) {
            let (plain, tail) = rest.split_at(at);
            self.text.push(plain);
            self.encoded(tail.as_bytes()[0]);
            rest = &tail[1..];
        }
        self.text.push(rest);
    }

    /// Writes a byte as `%` and two hexadecimal digits.
    fn encoded(&mut self, byte: u8) {
        self.shown(format_args!("%{byte:02X}"));
    }

    fn shown(&mut self, text: fmt::Arguments<'_>) {
        self.text
            .write_fmt(text)
            .expect("a buffer takes all that is written to it");
    }
}

#[inline]
fn structural(byte: u8) -> bool {
    // Bitwise and not short-circuiting, for the loop in `escaped`.
    (byte == b':') | (byte == b'%') | (byte == b'~') | (byte == b'@') | byte.is_ascii_control()
}

/// What can be a part of a [`CacheKey`].
///
/// `None` is an absent part. Bytes that are not UTF-8 are percent-encoded. A part says what it
/// holds and not of which type it is: `7` and `"7"` are the same part, so that a key found in a
/// path is that of the typed value. Give each place in a key one type.
pub trait KeyPart {
    /// Writes the part, escaped, into a key that is being built.
    fn write(&self, key: &mut KeyBuilder);
}

impl KeyPart for str {
    #[inline]
    fn write(&self, key: &mut KeyBuilder) {
        key.escaped(self);
    }
}

impl KeyPart for String {
    #[inline]
    fn write(&self, key: &mut KeyBuilder) {
        key.escaped(self);
    }
}

impl KeyPart for [u8] {
    fn write(&self, key: &mut KeyBuilder) {
        for chunk in self.utf8_chunks() {
            key.escaped(chunk.valid());
            for byte in chunk.invalid() {
                key.encoded(*byte);
            }
        }
    }
}

impl KeyPart for Vec<u8> {
    fn write(&self, key: &mut KeyBuilder) {
        self.as_slice().write(key);
    }
}

impl KeyPart for Uuid {
    fn write(&self, key: &mut KeyBuilder) {
        let mut buffer = Uuid::encode_buffer();
        key.text.push(self.hyphenated().encode_lower(&mut buffer));
    }
}

macro_rules! integer_part {
    ($($type:ty)*) => {$(
        impl KeyPart for $type {
            fn write(&self, key: &mut KeyBuilder) {
                key.shown(format_args!("{self}"));
            }
        }
    )*};
}

integer_part!(i64 i32 u64 u32 usize);

impl KeyPart for Timestamp {
    fn write(&self, key: &mut KeyBuilder) {
        self.as_unix().write(key);
    }
}

impl KeyPart for TimestampMicros {
    fn write(&self, key: &mut KeyBuilder) {
        self.as_micros().write(key);
    }
}

impl KeyPart for bool {
    fn write(&self, key: &mut KeyBuilder) {
        key.escaped(if *self { "true" } else { "false" });
    }
}

impl<P: KeyPart> KeyPart for Option<P> {
    #[inline]
    fn write(&self, key: &mut KeyBuilder) {
        match self {
            Some(part) => part.write(key),
            None => key.text.push("~"),
        }
    }
}

impl<P: KeyPart + ?Sized> KeyPart for &P {
    #[inline]
    fn write(&self, key: &mut KeyBuilder) {
        (**self).write(key);
    }
}

#[cfg(test)]
mod tests;
