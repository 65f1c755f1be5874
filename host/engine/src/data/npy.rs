//! NumPy's `.npy` files to entries and back.

use std::panic::catch_unwind;

use npyz::{NpyFile, Order, WriterBuilder};

use super::{Entry, Values};

/// An array as an entry: floats as f32, whole numbers and booleans as i64; a single number has one row.
///
/// # Errors
/// Why the bytes are no array that an entry can hold.
pub(super) fn read(bytes: &[u8]) -> Result<Entry, String> {
    // The reader multiplies the axes before anyone can look at them, and panics where that overflows.
    let file = catch_unwind(|| NpyFile::new(bytes)).map_err(|_| "a shape past all bounds".to_owned())?;
    let file = file.map_err(|error| format!("no readable .npy file: {error}"))?;
    let npyz::DType::Plain(kind) = file.dtype() else {
        return Err("an array of records; store plain numbers".to_owned());
    };
    let width = kind.num_bytes().filter(|width| *width > 0).ok_or("an array of no numbers")?;
    let count = file.shape().iter().try_fold(1_u64, |count, axis| count.checked_mul(*axis));
    // The header is believed only as far as there are bytes.
    let count = count.filter(|count| count.checked_mul(width as u64).is_some_and(|all| all <= bytes.len() as u64));
    let count = count.ok_or_else(|| format!("the file is too short for shape {:?}", file.shape()))?;
    if count == 0 {
        return Err(format!("an array without numbers, of shape {:?}", file.shape()));
    }
    if file.order() == Order::Fortran && file.shape().iter().filter(|axis| **axis > 1).count() > 1 {
        return Err("the array is in Fortran's order; save it with numpy.ascontiguousarray".to_owned());
    }
    let mut shape: Vec<i64> = file.shape().iter().map(|axis| *axis as i64).collect();
    if shape.is_empty() {
        shape.push(1);
    }
    let text = kind.to_string();
    let failed = |error: std::io::Error| error.to_string();
    let values = match text.trim_start_matches(['<', '>', '|', '=']) {
        "f4" => Values::F32(file.into_vec::<f32>().map_err(failed)?),
        "f8" => Values::F32(file.into_vec::<f64>().map_err(failed)?.into_iter().map(|value| value as f32).collect()),
        "i8" => Values::I64(file.into_vec::<i64>().map_err(failed)?),
        "i4" => Values::I64(widened(file.into_vec::<i32>().map_err(failed)?)),
        "i2" => Values::I64(widened(file.into_vec::<i16>().map_err(failed)?)),
        "i1" => Values::I64(widened(file.into_vec::<i8>().map_err(failed)?)),
        "u1" => Values::I64(widened(file.into_vec::<u8>().map_err(failed)?)),
        "u2" => Values::I64(widened(file.into_vec::<u16>().map_err(failed)?)),
        "b1" => Values::I64(widened(file.into_vec::<bool>().map_err(failed)?)),
        _ => {
            return Err(format!(
                "numbers of type {text}; float32, float64, int64, int32, int16, int8, uint8 and bool are read"
            ));
        }
    };
    Ok(Entry { shape, values })
}

fn widened<T: Into<i64>>(values: Vec<T>) -> Vec<i64> {
    values.into_iter().map(Into::into).collect()
}

/// The bytes of an entry's `.npy` file.
///
/// # Errors
/// None in practice: memory takes everything.
pub(super) fn write(entry: &Entry) -> std::io::Result<Vec<u8>> {
    let shape: Vec<u64> = entry.shape.iter().map(|axis| *axis as u64).collect();
    let mut bytes = Vec::new();
    match &entry.values {
        Values::F32(values) => {
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
            let mut writer = options.writer(&mut bytes).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()?;
        }
        Values::I64(values) => {
            let options = npyz::WriteOptions::new().default_dtype().shape(&shape);
            let mut writer = options.writer(&mut bytes).begin_nd()?;
            writer.extend(values.iter().copied())?;
            writer.finish()?;
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_go_there_and_back_bit_for_bit() {
        let floats = Entry::f32(&[2, 1, 3], vec![0.1, -0.0, f32::MIN_POSITIVE, 1e30, -1.0, 3.5]);
        let classes = Entry { shape: vec![2], values: Values::I64(vec![-7, 1 << 40]) };
        for entry in [floats, classes] {
            assert_eq!(read(&write(&entry).unwrap()).unwrap(), entry);
        }
    }

    /// A file of version 1 with this header and these bytes after it.
    fn file(descr: &str, order: &str, shape: &str, data: &[u8]) -> Vec<u8> {
        let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}\n");
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }

    #[test]
    fn other_numbers_become_floats_or_whole_numbers() {
        let expect = |descr: &str, data: &[u8], entry: Entry| {
            assert_eq!(read(&file(descr, "False", "(2,)", data)).unwrap(), entry, "{descr}");
        };
        let whole = |values: [i64; 2]| Entry { shape: vec![2], values: Values::I64(values.to_vec()) };
        expect("|u1", &[3, 255], whole([3, 255]));
        expect("|b1", &[0, 1], whole([0, 1]));
        expect(">i2", &[1, 0, 255, 255], whole([256, -1]));
        expect("<f8", &[1.5_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat(), Entry::f32(&[2], vec![1.5, -2.0]));
        let single = read(&file("<i4", "False", "()", &[5, 0, 0, 0])).unwrap();
        assert_eq!(single, Entry { shape: vec![1], values: Values::I64(vec![5]) });
    }

    #[test]
    fn what_an_entry_cannot_hold_is_refused() {
        let refused = |bytes: &[u8]| read(bytes).unwrap_err();
        assert!(refused(&file("<f4", "False", "(1000000000000,)", &[0; 8])).contains("too short for shape"));
        assert!(
            refused(&file("<f4", "False", "(4294967296, 4294967296, 4294967296)", &[0; 8])).contains("past all bounds")
        );
        assert!(refused(&file("<f4", "True", "(2, 2)", &[0; 16])).contains("Fortran"));
        assert!(refused(&file("<f4", "False", "(0, 2)", &[])).contains("without numbers"));
        assert!(refused(&file("<c8", "False", "(1,)", &[0; 8])).contains("numbers of type"));
        assert!(refused(b"no array").contains("no readable .npy file"));
    }
}
