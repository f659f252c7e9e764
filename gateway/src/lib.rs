//! The runnable program: a key-auth gateway built on Tidings.
