//! What a run writes for people, as values of event files.

use std::fs;
use std::io::{self, Cursor};
use std::path::Path;

use image::ImageReader;
use serde_json::Value as Json;

use super::{Image, SummaryValue, Value};
use crate::logging::{Line, LogError};

/// Red, green and blue.
const RGB: i32 = 3;

/// All numbers of a line but its step, each named `prefix/key`.
pub(in crate::logging) fn scalars(prefix: &str, line: &impl Line) -> Result<Vec<SummaryValue>, serde_json::Error> {
    let value = |(key, number): (&String, &Json)| {
        let number = number.as_f64().filter(|_| key != "step")? as f32;
        Some(SummaryValue { tag: format!("{prefix}/{key}"), value: Some(Value::SimpleValue(number)) })
    };
    let line = serde_json::to_value(line)?;
    Ok(line.as_object().into_iter().flatten().filter_map(value).collect())
}

/// The picture or moving picture in a file, named `prefix/stem`.
pub(in crate::logging) fn picture(prefix: &str, path: &Path) -> Result<SummaryValue, LogError> {
    let read = |source: io::Error| LogError::Read { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(read)?;
    let format = ImageReader::new(Cursor::new(&bytes)).with_guessed_format().map_err(read)?;
    let (width, height) = format.into_dimensions().map_err(|error| read(io::Error::other(error)))?;
    let image = Image { height: height as i32, width: width as i32, colorspace: RGB, encoded_image_string: bytes };
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    Ok(SummaryValue { tag: format!("{prefix}/{stem}"), value: Some(Value::Image(image)) })
}
