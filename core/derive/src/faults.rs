//! Collecting faults, so that one compilation shows them all.

use std::fmt::Display;

use proc_macro2::TokenStream;
use quote::ToTokens;

/// What is wrong with the input so far.
#[derive(Default)]
pub(crate) struct Faults(Option<syn::Error>);

impl Faults {
    /// Notes a fault of these tokens.
    pub(crate) fn add(&mut self, tokens: impl ToTokens, message: impl Display) {
        self.push(syn::Error::new_spanned(tokens, message));
    }

    /// Notes a fault that something else found.
    pub(crate) fn push(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(faults) => faults.combine(error),
            none => *none = Some(error),
        }
    }

    /// Returns all that was noted, as tokens that make the compiler say it; none if nothing was.
    pub(crate) fn into_tokens(self) -> TokenStream {
        self.0
            .map(syn::Error::into_compile_error)
            .unwrap_or_default()
    }
}

/// Returns the allowed word that a reader would take `word` for.
pub(crate) fn nearest<'a>(
    word: &str,
    allowed: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    /// Below this two words look unrelated (1 is equality).
    const NEAR: f64 = 0.8;
    allowed
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= NEAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

/// Lists words as `` `a`, `b`, `c` ``, and adds which of them `word` may have meant.
pub(crate) fn listed<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str> + Clone) -> String {
    let quoted: Vec<_> = allowed
        .clone()
        .into_iter()
        .map(|word| format!("`{word}`"))
        .collect();
    let hint = nearest(word, allowed).map(|nearest| format!("; did you mean `{nearest}`?"));
    quoted.join(", ") + &hint.unwrap_or_default()
}
