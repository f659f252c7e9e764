//! The derive macro for `tidings_core::Entity`.

/// Derives `Entity` for a struct with named fields.
#[proc_macro_derive(Entity, attributes(entity))]
pub fn derive_entity(_input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    proc_macro::TokenStream::new()
}
