//! Where the generated code finds Tidings' names.

use proc_macro_crate::{Error, FoundCrate, crate_name};
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// Packages that have them, best first: users depend on the facade, the parts of Tidings on the
/// core.
const PACKAGES: [&str; 2] = ["tidings", "tidings-core"];

/// Returns the path of the crate that holds the names, from the dependencies of the package being
/// compiled.
///
/// # Errors
///
/// Where the package depends on neither.
pub(crate) fn find() -> Result<TokenStream, &'static str> {
    for package in PACKAGES {
        match crate_name(package) {
            Ok(FoundCrate::Name(name)) => return Ok(absolute(&name)),
            // Within the package itself `crate` would be wrong in its examples and doc tests. Each
            // of the two says `extern crate self as ..`, so its own name is right everywhere.
            Ok(FoundCrate::Itself) => return Ok(absolute(&package.replace('-', "_"))),
            Err(Error::CrateNotFound { .. }) => {}
            // Not built by cargo, so nothing can be looked up.
            Err(_) => return Ok(absolute(PACKAGES[0])),
        }
    }

    Err(
        "this package depends on neither `tidings` nor `tidings-core`: add `tidings` to its dependencies, \
         or say where it is with `#[entity(crate = \"path\")]`",
    )
}

fn absolute(name: &str) -> TokenStream {
    let name = Ident::new(name, Span::call_site());
    quote!(::#name)
}
