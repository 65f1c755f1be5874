//! The derive for enums: a choice between names in kebab case.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DataEnum, DeriveInput, Fields};

pub fn expand(input: &DeriveInput, data: &DataEnum) -> syn::Result<TokenStream> {
    if let Some(variant) = data.variants.iter().find(|variant| !matches!(variant.fields, Fields::Unit)) {
        return Err(syn::Error::new_spanned(variant, "Config is derived for enums of unit variants"));
    }
    let name = &input.ident;
    let variants: Vec<_> = data.variants.iter().map(|variant| &variant.ident).collect();
    let names: Vec<String> = variants.iter().map(|variant| kebab_case(&variant.to_string())).collect();
    Ok(quote! {
        impl ::plugin_api::config::Setting for #name {
            fn read(
                value: &::plugin_api::config::Value,
                _bounds: &::plugin_api::config::Bounds,
                at: &str,
                errors: &mut ::std::vec::Vec<::plugin_api::config::ConfigError>,
            ) -> ::core::option::Option<Self> {
                match value.as_str() {
                    #(::core::option::Option::Some(#names) => ::core::option::Option::Some(Self::#variants),)*
                    _ => {
                        errors.push(::plugin_api::config::ConfigError::not_one_of(value, &[#(#names),*], at));
                        ::core::option::Option::None
                    }
                }
            }
            fn schema(_bounds: &::plugin_api::config::Bounds) -> ::plugin_api::config::Value {
                ::plugin_api::config::choice_schema(&[#(#names),*])
            }
            fn to_value(&self) -> ::plugin_api::config::Value {
                ::plugin_api::config::Value::from(match self {
                    #(Self::#variants => #names,)*
                })
            }
        }
    })
}

fn kebab_case(name: &str) -> String {
    let mut kebab = String::new();
    for (idx, letter) in name.char_indices() {
        if letter.is_uppercase() && idx > 0 {
            kebab.push('-');
        }
        kebab.extend(letter.to_lowercase());
    }
    kebab
}

#[cfg(test)]
mod tests {
    #[test]
    fn variants_are_written_in_kebab_case() {
        assert_eq!(super::kebab_case("MinSnr"), "min-snr");
        assert_eq!(super::kebab_case("Max"), "max");
    }
}
