//! The derive for structs: a table of keys.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{DataStruct, DeriveInput, Expr, ExprLit, Field, Fields, Lit};

use crate::attributes::{DefaultValue, FieldAttributes, check_function, description};

pub fn expand(input: &DeriveInput, data: &DataStruct) -> syn::Result<TokenStream> {
    let fields: Vec<&Field> = match &data.fields {
        Fields::Named(named) => named.named.iter().collect(),
        Fields::Unit => Vec::new(),
        Fields::Unnamed(_) => return Err(syn::Error::new_spanned(&input.ident, "Config needs named fields")),
    };
    let keys: Vec<Key> = fields.iter().map(|field| Key::new(field)).collect::<syn::Result<_>>()?;
    let name = &input.ident;
    let title = name.to_string();
    let text = description(&input.attrs);
    let known = keys.iter().map(|key| &key.text);
    let reads = keys.iter().map(Key::read);
    let assignments = keys.iter().map(|key| {
        let (field, local) = (&key.field, &key.local);
        quote!(#field: #local?)
    });
    let properties = keys.iter().map(Key::property);
    let assertions = keys.iter().filter_map(Key::bounds_assertion);
    let check = check_function(&input.attrs)?.map(|function| {
        quote! {
            if let ::core::result::Result::Err(error) = #function(&config) {
                errors.push(error.under(at));
                return ::core::option::Option::None;
            }
        }
    });
    let writes = keys.iter().map(Key::write);
    Ok(quote! {
        #(#assertions)*
        impl ::plugin_api::config::Config for #name {
            fn read(
                map: &::plugin_api::config::Map<::std::string::String, ::plugin_api::config::Value>,
                at: &str,
                errors: &mut ::std::vec::Vec<::plugin_api::config::ConfigError>,
            ) -> ::core::option::Option<Self> {
                ::plugin_api::config::refuse_unknown_keys(map, &[#(#known),*], at, errors);
                #(#reads)*
                let config = Self { #(#assignments),* };
                #check
                ::core::option::Option::Some(config)
            }
            fn schema() -> ::plugin_api::config::Value {
                ::plugin_api::config::object_schema(#title, #text, ::std::vec![#(#properties),*])
            }
        }
        impl ::plugin_api::config::Setting for #name {
            fn read(
                value: &::plugin_api::config::Value,
                _bounds: &::plugin_api::config::Bounds,
                at: &str,
                errors: &mut ::std::vec::Vec<::plugin_api::config::ConfigError>,
            ) -> ::core::option::Option<Self> {
                let map = ::plugin_api::config::expect_object(value, at, errors)?;
                <Self as ::plugin_api::config::Config>::read(map, at, errors)
            }
            fn schema(_bounds: &::plugin_api::config::Bounds) -> ::plugin_api::config::Value {
                <Self as ::plugin_api::config::Config>::schema()
            }
            fn to_value(&self) -> ::plugin_api::config::Value {
                let mut map = ::plugin_api::config::Map::new();
                #(#writes)*
                ::plugin_api::config::Value::Object(map)
            }
        }
    })
}

/// A field and the key it is read from.
struct Key<'a> {
    field: &'a syn::Ident,
    local: syn::Ident,
    text: String,
    description: String,
    ty: &'a syn::Type,
    attributes: FieldAttributes,
}

impl<'a> Key<'a> {
    fn new(field: &'a Field) -> syn::Result<Self> {
        let Some(ident) = &field.ident else {
            return Err(syn::Error::new_spanned(field, "Config needs named fields"));
        };
        let text = ident.to_string().trim_start_matches("r#").to_owned();
        let attributes = FieldAttributes::parse(&field.attrs)?;
        let local = format_ident!("field_{text}");
        Ok(Self { field: ident, local, text, description: description(&field.attrs), ty: &field.ty, attributes })
    }

    fn bounds(&self) -> TokenStream {
        let [min, max, exclusive_min, exclusive_max] = self.attributes.bounds.each_ref().map(|bound| match bound {
            Some(value) => quote!(::core::option::Option::Some((#value) as f64)),
            None => quote!(::core::option::Option::None),
        });
        quote!(::plugin_api::config::Bounds {
            min: #min, max: #max, exclusive_min: #exclusive_min, exclusive_max: #exclusive_max,
        })
    }

    /// The default as `Option<fn() -> T>`.
    fn default(&self) -> TokenStream {
        let ty = self.ty;
        let value = match &self.attributes.default {
            None => return quote!(<#ty as ::plugin_api::config::Setting>::IF_ABSENT),
            Some(DefaultValue::OfType) => quote!(<#ty as ::core::default::Default>::default()),
            Some(DefaultValue::Value(Expr::Lit(ExprLit { lit: Lit::Str(text), .. }))) => {
                quote!(::std::string::String::from(#text))
            }
            Some(DefaultValue::Value(value)) => quote!(#value),
        };
        quote!(::core::option::Option::Some(|| -> #ty { #value }))
    }

    fn read(&self) -> TokenStream {
        let (local, text, ty, bounds, default) = (&self.local, &self.text, self.ty, self.bounds(), self.default());
        quote! {
            let #local = ::plugin_api::config::read_key::<#ty>(map, #text, &#bounds, #default, at, errors);
        }
    }

    fn property(&self) -> TokenStream {
        let (text, description, ty) = (&self.text, &self.description, self.ty);
        let (bounds, default) = (self.bounds(), self.default());
        quote!(::plugin_api::config::Property::of::<#ty>(#text, #description, &#bounds, #default))
    }

    fn write(&self) -> TokenStream {
        let (field, text, ty) = (self.field, &self.text, self.ty);
        quote! {
            let value = <#ty as ::plugin_api::config::Setting>::to_value(&self.#field);
            if !value.is_null() {
                map.insert(::std::string::String::from(#text), value);
            }
        }
    }

    /// Bounds on what has no order are a mistake of the author, caught where the plugin is compiled.
    fn bounds_assertion(&self) -> Option<TokenStream> {
        let ty = self.ty;
        let message = format!("bounds on `{}`, which holds no numbers", self.text);
        self.attributes.has_bounds().then(|| {
            quote!(
                const _: () = ::core::assert!(<#ty as ::plugin_api::config::Setting>::NUMERIC, #message);
            )
        })
    }
}
