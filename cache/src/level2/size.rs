//! The size of a value in bytes, counted through its `Serialize` without writing anything.
//!
//! A number counts its width, a text its length and the three words that hold it, a sequence or map
//! those words and its elements. That is what the value takes in memory, except for what an
//! allocator rounds up. The value never counts less than its `size_of`.

use std::fmt::{self, Display};

use serde::{
    Serialize,
    ser::{
        self, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
        SerializeTupleStruct, SerializeTupleVariant,
    },
};

/// What a `String` or a `Vec` takes besides its content.
const HEADER: u64 = 24;

/// Returns the bytes of a value.
///
/// # Errors
///
/// When the value's own `Serialize` fails.
pub(crate) fn size_of_value<V: Serialize>(value: &V) -> Result<u64, Unserializable> {
    let mut counter = Counter(0);
    value.serialize(&mut counter)?;
    Ok(counter.0.max(size_of::<V>() as u64))
}

/// The error of a value that does not serialize.
#[derive(Debug)]
pub(crate) struct Unserializable;

impl Display for Unserializable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not serialize")
    }
}

impl std::error::Error for Unserializable {}

impl ser::Error for Unserializable {
    fn custom<T: Display>(_message: T) -> Self {
        Self
    }
}

struct Counter(u64);

impl Counter {
    fn add(&mut self, bytes: u64) -> Result<(), Unserializable> {
        self.0 = self.0.saturating_add(bytes);
        Ok(())
    }

    fn text(&mut self, len: usize) -> Result<(), Unserializable> {
        self.add(HEADER + len as u64)
    }
}

macro_rules! widths {
    ($($name:ident: $kind:ty),* $(,)?) => {
        $(fn $name(self, _: $kind) -> Result<(), Unserializable> {
            self.add(size_of::<$kind>() as u64)
        })*
    };
}

impl<'a> ser::Serializer for &'a mut Counter {
    type Ok = ();
    type Error = Unserializable;
    type SerializeSeq = &'a mut Counter;
    type SerializeTuple = &'a mut Counter;
    type SerializeTupleStruct = &'a mut Counter;
    type SerializeTupleVariant = &'a mut Counter;
    type SerializeMap = &'a mut Counter;
    type SerializeStruct = &'a mut Counter;
    type SerializeStructVariant = &'a mut Counter;

    widths! {
        serialize_bool: bool, serialize_char: char,
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128,
        serialize_f32: f32, serialize_f64: f64,
    }

    fn serialize_str(self, text: &str) -> Result<(), Unserializable> {
        self.text(text.len())
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Unserializable> {
        self.text(bytes.len())
    }

    fn serialize_none(self) -> Result<(), Unserializable> {
        self.add(8)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Unserializable> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Unserializable> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Unserializable> {
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
    ) -> Result<(), Unserializable> {
        self.add(1)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unserializable> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<(), Unserializable> {
        self.add(8)?;
        value.serialize(self)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Unserializable> {
        self.add(HEADER)?;
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unserializable> {
        self.add(8)?;
        Ok(self)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Self, Unserializable> {
        self.add(2 * HEADER)?;
        Ok(self)
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self, Unserializable> {
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self, Unserializable> {
        self.add(8)?;
        Ok(self)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Unserializable> {
        struct Lengths(usize);
        impl fmt::Write for Lengths {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                self.0 += text.len();
                Ok(())
            }
        }

        let mut lengths = Lengths(0);
        fmt::write(&mut lengths, format_args!("{value}")).map_err(|_| Unserializable)?;
        self.text(lengths.0)
    }

    // False, so that types like `Uuid` count the bytes that they hold and not their text.
    fn is_human_readable(&self) -> bool {
        false
    }
}

macro_rules! elements {
    ($($part:ident: $method:ident),* $(,)?) => {
        $(impl $part for &mut Counter {
            type Ok = ();
            type Error = Unserializable;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unserializable> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Unserializable> {
                Ok(())
            }
        })*
    };
}

elements! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! fields {
    ($($part:ident),* $(,)?) => {
        $(impl $part for &mut Counter {
            type Ok = ();
            type Error = Unserializable;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, _: &'static str, value: &T) -> Result<(), Unserializable> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Unserializable> {
                Ok(())
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for &mut Counter {
    type Ok = ();
    type Error = Unserializable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Unserializable> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unserializable> {
        // A node of a map holds the hash or the place of its entry, besides key and value.
        self.add(8)?;
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Unserializable> {
        Ok(())
    }
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn counts_what_a_value_takes_in_memory() {
        assert_eq!(size_of_value(&7_u64).unwrap(), 8);
        assert_eq!(size_of_value(&"abc".to_owned()).unwrap(), 27);
        assert_eq!(size_of_value(&vec![1_u64; 100]).unwrap(), 824);
        assert_eq!(size_of_value(&vec![0_u8; 4]).unwrap(), 28);
        assert_eq!(size_of_value(&Some("ab".to_owned())).unwrap(), 26);
        assert_eq!(
            size_of_value(&BTreeMap::from([(1_u64, 2_u64)])).unwrap(),
            72
        );
        assert_eq!(size_of_value(&[0_u8; 3]).unwrap(), 3);
        assert_eq!(
            size_of_value(&(1_u8, true, 'c')).unwrap(),
            8,
            "never below size_of"
        );
    }

    #[test]
    fn a_value_that_does_not_serialize_is_an_error() {
        #[derive(Clone)]
        struct Broken;
        impl Serialize for Broken {
            fn serialize<S: ser::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(ser::Error::custom("no"))
            }
        }
        assert!(size_of_value(&Broken).is_err());
    }
}
