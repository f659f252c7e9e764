//! Sequence numbers and moments, which the fence compares, as types that cannot be confused.

// Numbers and moments. Must not know where they come from.
pub(crate) mod number;

// The sequence and the slots. Must not know keys beyond their hash.
pub(crate) mod slots;
