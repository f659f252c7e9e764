//! Typed worker events: named channels, three ways to listen, explicit overflow.
