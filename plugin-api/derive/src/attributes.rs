//! What `#[config(...)]` and doc comments say about a field or a type.

use syn::{Attribute, Expr, ExprLit, Lit, Meta};

/// `#[config(...)]` on a field.
#[derive(Default)]
pub struct FieldAttributes {
    pub default: Option<DefaultValue>,
    /// In the order min, max, exclusive min, exclusive max.
    pub bounds: [Option<Expr>; 4],
}

/// Where a key's default comes from.
pub enum DefaultValue {
    /// `Default::default()` of the field's type.
    OfType,
    /// The expression given.
    Value(Expr),
}

const BOUNDS: [&str; 4] = ["min", "max", "exclusive_min", "exclusive_max"];

impl FieldAttributes {
    pub fn parse(attributes: &[Attribute]) -> syn::Result<Self> {
        let mut parsed = Self::default();
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("config")) {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("default") {
                    parsed.default = Some(match meta.value() {
                        Ok(value) => DefaultValue::Value(value.parse()?),
                        Err(_) => DefaultValue::OfType,
                    });
                    return Ok(());
                }
                match BOUNDS.iter().position(|name| meta.path.is_ident(name)) {
                    Some(idx) => parsed.bounds[idx] = Some(meta.value()?.parse()?),
                    None => return Err(meta.error("expected default, min, max, exclusive_min or exclusive_max")),
                }
                Ok(())
            })?;
        }
        Ok(parsed)
    }

    pub fn has_bounds(&self) -> bool {
        self.bounds.iter().any(Option::is_some)
    }
}

/// The function of `#[config(check = FUNCTION)]` on a struct.
pub fn check_function(attributes: &[Attribute]) -> syn::Result<Option<Expr>> {
    let mut check = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("config")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("check") {
                return Err(meta.error("expected check"));
            }
            check = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(check)
}

/// The doc comment as one text: lines joined by spaces, paragraphs by blank lines.
pub fn description(attributes: &[Attribute]) -> String {
    let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
        Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => Some(text.value().trim().to_owned()),
            _ => None,
        },
        _ => None,
    });
    let mut text = String::new();
    for line in lines {
        if line.is_empty() {
            text.push_str("\n\n");
        } else {
            if !text.is_empty() && !text.ends_with('\n') {
                text.push(' ');
            }
            text.push_str(&line);
        }
    }
    text.trim().to_owned()
}
