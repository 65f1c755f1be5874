//! Settings that are one of a few names which the field writes in its own way, such as `ViT-H-14`.

/// An enum of unit variants with a name each, as a setting.
macro_rules! named {
    ($(#[$meta:meta])* pub enum $choice:ident { $($(#[$variant_meta:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $choice { $($(#[$variant_meta])* $variant,)+ }

        impl plugin_api::config::Setting for $choice {
            fn read(
                value: &plugin_api::config::Value,
                _: &plugin_api::config::Bounds,
                at: &str,
                errors: &mut Vec<plugin_api::config::ConfigError>,
            ) -> Option<Self> {
                let found = match value.as_str() {
                    $(Some($name) => Some(Self::$variant),)+
                    _ => None,
                };
                if found.is_none() {
                    errors.push(plugin_api::config::ConfigError::not_one_of(value, &[$($name),+], at));
                }
                found
            }

            fn schema(_: &plugin_api::config::Bounds) -> plugin_api::config::Value {
                plugin_api::config::choice_schema(&[$($name),+])
            }

            fn to_value(&self) -> plugin_api::config::Value {
                plugin_api::config::Value::from(match self { $(Self::$variant => $name,)+ })
            }
        }
    };
}

pub(crate) use named;

use plugin_api::config::ConfigError;

/// The sizes of `preset`, or those written out: exactly one of the two must be given.
///
/// # Errors
/// When both are given, or neither.
pub fn one_of<P, S: Copy>(
    preset: Option<P>,
    sizes: Option<S>,
    of_preset: impl Fn(P) -> S,
    [preset_key, sizes_key]: [&str; 2],
) -> Result<S, ConfigError> {
    match (preset, sizes) {
        (Some(preset), None) => Ok(of_preset(preset)),
        (None, Some(sizes)) => Ok(sizes),
        (Some(_), Some(_)) => Err(ConfigError::new(
            format!("/{sizes_key}"),
            format!("`{preset_key}` says the sizes already; leave one out"),
        )),
        (None, None) => {
            Err(ConfigError::new("", format!("the sizes are missing: give `{preset_key}` or the table `{sizes_key}`")))
        }
    }
}
