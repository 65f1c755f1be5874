//! `#[derive(Config)]`: a struct's fields become the parser and the JSON Schema of a plugin's settings.

mod attributes;
mod choice;
mod table;

use proc_macro::TokenStream;
use syn::{Data, DeriveInput, parse_macro_input};

/// Derives `plugin_api::config::Config` for a struct with named fields, and `plugin_api::config::Setting` for that
/// struct or for an enum of unit variants, which are written in kebab case.
///
/// Doc comments become descriptions. A field may carry `#[config(...)]` with
/// - `default` (the type's own) or `default = EXPR`; without it the key is required, unless its type is an `Option`,
/// - `min`, `max`, `exclusive_min`, `exclusive_max`: bounds of a number, or of each number in a list.
///
/// The struct may carry `#[config(check = FUNCTION)]` with a `fn(&Self) -> Result<(), ConfigError>` for what bounds
/// cannot say.
#[proc_macro_derive(Config, attributes(config))]
pub fn derive_config(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let result = match &input.data {
        Data::Struct(data) => table::expand(&input, data),
        Data::Enum(data) => choice::expand(&input, data),
        Data::Union(_) => Err(syn::Error::new_spanned(&input.ident, "Config is derived for structs and enums")),
    };
    result.unwrap_or_else(|error| error.to_compile_error()).into()
}
