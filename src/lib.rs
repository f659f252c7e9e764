//! The tidings facade.
