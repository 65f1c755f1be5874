//! The bundled weightings that learn.

mod uncertainty;

use plugin_api::native::prelude::*;

export_plugin! { weighting "uncertainty" => uncertainty::Uncertainty }

#[cfg(test)]
mod tests {
    use plugin_api::config::assert_schema;

    use super::*;

    #[test]
    fn the_schema_file_is_that_of_the_settings() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/schema/uncertainty.json");
        assert_schema(&<uncertainty::Uncertainty as Weighting>::Config::schema(), file);
    }
}
