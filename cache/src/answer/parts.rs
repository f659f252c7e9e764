//! What a view is asked with: the parts of a key, lent for one call.
//!
//! A lookup in a thread's own table needs no text. It compares what the parts lend: bytes, and a
//! number that says how to read them. Parts that differ in either are different. Several parts are
//! packed, each with its kind and its length before it, so no two tuples lend the same bytes. The
//! text, a [`CacheKey`], is built on a miss only.

use std::fmt;

use tidings_core::{CacheKey, KeyBuilder, KeyPart, Timestamp, TimestampMicros};
use uuid::Uuid;

/// How the bytes of parts are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Text,
    Signed,
    Unsigned,
    Uuid,
    Boolean,
    Time,
    Micros,
    Absent,
    Several,
}

/// What parts lend to a lookup.
#[doc(hidden)]
#[derive(Clone, Copy)]
pub struct Lent<'a> {
    kind: Kind,
    bytes: &'a [u8],
}

impl<'a> Lent<'a> {
    fn new(kind: Kind, bytes: &'a [u8]) -> Self {
        Self { kind, bytes }
    }

    /// Returns a number that differs between kinds.
    #[inline]
    pub(crate) fn kind(&self) -> u8 {
        self.kind as u8
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

/// What holds the bytes of parts while they are lent.
#[doc(hidden)]
pub trait Loan {
    fn lent(&self) -> Lent<'_>;
}

impl Loan for Lent<'_> {
    #[inline(always)]
    fn lent(&self) -> Lent<'_> {
        *self
    }
}

/// The bytes of a number or a truth value.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct FixedBytes<const N: usize> {
    kind: Kind,
    bytes: [u8; N],
}

impl<const N: usize> Loan for FixedBytes<N> {
    #[inline(always)]
    fn lent(&self) -> Lent<'_> {
        Lent::new(self.kind, &self.bytes)
    }
}

/// Lends nothing for an absent part.
impl<L: Loan> Loan for Option<L> {
    #[inline(always)]
    fn lent(&self) -> Lent<'_> {
        match self {
            Some(part) => part.lent(),
            None => Lent::new(Kind::Absent, &[]),
        }
    }
}

impl fmt::Debug for Lent<'_> {
    /// Shows only the length, because some keys are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lent")
            .field("kind", &self.kind)
            .field("len", &self.bytes.len())
            .finish()
    }
}

/// The parts of a key, as a [`View`](crate::View) takes them: a `&str`, `&String`, `bool`, integer,
/// [`Uuid`], [`Timestamp`] or [`TimestampMicros`], an `Option` of one (`None` is an absent part), a
/// reference to one, or a tuple of two to four.
///
/// It cannot be implemented elsewhere: a wrong implementation would let one key answer for another.
///
/// # Examples
///
/// ```
/// use tidings_cache::Cache;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let cache = Cache::builder().build()?;
/// let users = cache.view::<String>("users")?;
/// assert_eq!(users.key("alice").as_str(), "users:alice");
/// assert_eq!(users.key(("alice", None::<i64>)).as_str(), "users:alice:~");
/// assert_eq!(users.primary()?.key(7_i64).as_str(), "users@7");
/// assert_eq!(users.by(&["email"])?.key("a@b.c").as_str(), "users@email:a%40b.c");
/// # Ok(()) }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the parts of a key",
    note = "parts are a `&str`, `&String`, `bool`, integer, `Uuid`, `Timestamp` or `TimestampMicros`, an `Option` of one, or a tuple of two to four of these"
)]
pub trait Parts {
    /// What holds the bytes while they are lent.
    #[doc(hidden)]
    type Loan<'a>: Loan
    where
        Self: 'a;

    /// Lends the parts.
    #[doc(hidden)]
    fn lend(&self) -> Self::Loan<'_>;

    /// Adds the parts to a key that is being built.
    fn push(&self, key: &mut KeyBuilder);

    /// Returns the key of the row of which these parts are the primary key.
    fn primary(&self, name: &str) -> CacheKey;
}

/// Writes the methods that make a key from a single part.
macro_rules! one_part {
    () => {
        fn push(&self, key: &mut KeyBuilder) {
            key.push(self);
        }

        fn primary(&self, name: &str) -> CacheKey {
            CacheKey::primary(name, self)
        }
    };
}

impl Parts for str {
    type Loan<'a> = Lent<'a>;

    #[inline(always)]
    fn lend(&self) -> Lent<'_> {
        Lent::new(Kind::Text, self.as_bytes())
    }

    one_part!();
}

impl Parts for String {
    type Loan<'a> = Lent<'a>;

    #[inline(always)]
    fn lend(&self) -> Lent<'_> {
        self.as_str().lend()
    }

    one_part!();
}

impl Parts for Uuid {
    type Loan<'a> = Lent<'a>;

    #[inline(always)]
    fn lend(&self) -> Lent<'_> {
        Lent::new(Kind::Uuid, self.as_bytes())
    }

    one_part!();
}

impl Parts for bool {
    type Loan<'a> = FixedBytes<1>;

    #[inline(always)]
    fn lend(&self) -> FixedBytes<1> {
        FixedBytes {
            kind: Kind::Boolean,
            bytes: [u8::from(*self)],
        }
    }

    one_part!();
}

impl Parts for Timestamp {
    type Loan<'a> = FixedBytes<8>;

    #[inline(always)]
    fn lend(&self) -> FixedBytes<8> {
        FixedBytes {
            kind: Kind::Time,
            bytes: self.as_unix().to_le_bytes(),
        }
    }

    one_part!();
}

impl Parts for TimestampMicros {
    type Loan<'a> = FixedBytes<8>;

    #[inline(always)]
    fn lend(&self) -> FixedBytes<8> {
        FixedBytes {
            kind: Kind::Micros,
            bytes: self.as_micros().to_le_bytes(),
        }
    }

    one_part!();
}

macro_rules! integer {
    ($($type:ty)*) => {$(
        impl Parts for $type {
            type Loan<'a> = FixedBytes<8>;

            // Equal numbers lend the same, whatever their types.
            #[inline(always)]
            fn lend(&self) -> FixedBytes<8> {
                let (kind, bytes) = match i64::try_from(*self) {
                    Ok(number) => (Kind::Signed, number.to_le_bytes()),
                    // Only numbers above the largest `i64` come here.
                    Err(_) => (Kind::Unsigned, (*self as u64).to_le_bytes()),
                };
                FixedBytes { kind, bytes }
            }

            one_part!();
        }
    )*};
}

integer!(i64 i32 u64 u32 usize);

impl<P: Parts + KeyPart> Parts for Option<P> {
    type Loan<'a>
        = Option<P::Loan<'a>>
    where
        Self: 'a;

    #[inline(always)]
    fn lend(&self) -> Self::Loan<'_> {
        self.as_ref().map(P::lend)
    }

    one_part!();
}

impl<P: Parts + ?Sized> Parts for &P {
    type Loan<'a>
        = P::Loan<'a>
    where
        Self: 'a;

    #[inline(always)]
    fn lend(&self) -> Self::Loan<'_> {
        (**self).lend()
    }

    fn push(&self, key: &mut KeyBuilder) {
        (**self).push(key);
    }

    fn primary(&self, name: &str) -> CacheKey {
        (**self).primary(name)
    }
}

/// Several parts in one piece, on the stack if they are short.
#[doc(hidden)]
pub struct Packed {
    len: usize,
    short: [u8; Self::SHORT],
    /// All bytes, once there are more than that.
    long: Vec<u8>,
}

impl Packed {
    const SHORT: usize = 128;

    fn new() -> Self {
        Self {
            len: 0,
            short: [0; Self::SHORT],
            long: Vec::new(),
        }
    }

    fn add<P: Parts + ?Sized>(&mut self, part: &P) {
        let loan = part.lend();
        let lent = loan.lent();
        self.write(&[lent.kind()]);
        self.write(&(lent.bytes.len() as u64).to_le_bytes());
        self.write(lent.bytes);
    }

    fn write(&mut self, bytes: &[u8]) {
        let end = self.len + bytes.len();
        if self.long.is_empty()
            && let Some(room) = self.short.get_mut(self.len..end)
        {
            room.copy_from_slice(bytes);
        } else {
            if self.long.is_empty() {
                self.long.extend_from_slice(&self.short[..self.len]);
            }
            self.long.extend_from_slice(bytes);
        }

        self.len = end;
    }

    fn bytes(&self) -> &[u8] {
        if self.long.is_empty() {
            &self.short[..self.len]
        } else {
            &self.long
        }
    }
}

impl Loan for Packed {
    fn lent(&self) -> Lent<'_> {
        Lent::new(Kind::Several, self.bytes())
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lent().fmt(f)
    }
}

macro_rules! tuple {
    ($($part:ident)*) => {
        impl<$($part: Parts),*> Parts for ($($part,)*) {
            type Loan<'a>
                = Packed
            where
                Self: 'a;

            fn lend(&self) -> Packed {
                #[expect(non_snake_case, reason = "a part is named as its type")]
                let ($($part,)*) = self;
                let mut packed = Packed::new();
                $(packed.add($part);)*
                packed
            }

            fn push(&self, key: &mut KeyBuilder) {
                #[expect(non_snake_case, reason = "a part is named as its type")]
                let ($($part,)*) = self;
                $($part.push(key);)*
            }

            /// Returns the key of a field without a name, as [`CacheKey::primary_of`] does. No
            /// field lacks a name, so no other row has this key.
            fn primary(&self, name: &str) -> CacheKey {
                let mut key = CacheKey::by_fields(name, &[""]);
                self.push(&mut key);
                key.finish()
            }
        }
    };
}

tuple!(A B);
tuple!(A B C);
tuple!(A B C D);

/// A copy of what parts lent, for the entry that is made when a load has landed.
#[derive(Clone)]
pub(crate) struct OwnedParts {
    kind: Kind,
    bytes: Box<[u8]>,
}

impl OwnedParts {
    pub(crate) fn of(parts: &impl Parts) -> Self {
        let loan = parts.lend();
        let lent = loan.lent();
        Self {
            kind: lent.kind,
            bytes: lent.bytes.into(),
        }
    }

    pub(crate) fn lent(&self) -> Lent<'_> {
        Lent::new(self.kind, &self.bytes)
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seen(parts: impl Parts) -> (u8, Vec<u8>) {
        let loan = parts.lend();
        (loan.lent().kind(), loan.lent().bytes().to_vec())
    }

    proptest! {
        // G13
        #[test]
        fn different_tuples_lend_different_bytes(
            a in (prop::option::of("[:\u{0}a]{0,3}"), prop::option::of("[:\u{0}a]{0,90}")),
            b in (prop::option::of("[:\u{0}a]{0,3}"), prop::option::of("[:\u{0}a]{0,90}")),
        ) {
            prop_assert_eq!(a == b, seen(a.clone()) == seen(b.clone()));
            // Their texts differ just as much.
            let text = |parts: &(Option<String>, Option<String>)| {
                let mut key = CacheKey::builder("k");
                parts.push(&mut key);
                key.finish()
            };
            prop_assert_eq!(a == b, text(&a) == text(&b));
        }
    }

    #[test]
    fn equal_values_of_similar_types_lend_the_same_part() {
        assert_eq!(seen(7_i64), seen(7_u32));
        assert_eq!(seen("a"), seen("a".to_owned()));
        assert_eq!(seen(Some("a")), seen("a"));
        assert_ne!(
            seen(-1_i64),
            seen(u64::MAX),
            "the same bits, not the same number"
        );
    }

    #[test]
    fn parts_of_different_kinds_never_lend_alike() {
        let (number, text) = (7_i64, "\u{7}\0\0\0\0\0\0\0");
        assert_eq!(seen(number).1, seen(text).1, "the same bytes");
        assert_ne!(seen(number), seen(text));
        assert_ne!(seen(None::<&str>), seen(""));
        assert_ne!(seen((1_i64, "")), seen((1_i64, None::<&str>)));
        assert_ne!(seen(("a", ("b", "c"))), seen((("a", "b"), "c")));
    }

    #[test]
    fn packing_is_the_same_on_the_heap() {
        let long = "x".repeat(200);
        let packed = seen(("a", long.as_str(), "b"));
        assert_eq!(packed.1.len(), 3 * 9 + 202);
        assert_eq!(&packed.1[packed.1.len() - 1..], b"b");
        assert_eq!(&packed.1[9..10], b"a");
    }
}
