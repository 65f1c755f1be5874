//! Seeded mutations of inputs, for the short test: the same ones on every machine.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// An input becomes no longer than this.
const LENGTH_MAX: usize = 64 << 10;
/// Numbers at which readers go wrong.
const NUMBERS: [u64; 14] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    1 << 40,
    i64::MAX as u64,
    1 << 63,
    u64::MAX,
];
/// Digits that texts are given where they have some.
const TEXTS: [&str; 10] = [
    "-1",
    "0",
    "1",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "18446744073709551615",
    "1e308",
    "1e999",
    "-0.0",
];

/// A source of mutations of some inputs.
#[derive(Debug)]
pub struct Mutator<'a> {
    random: ChaCha8Rng,
    inputs: &'a [Vec<u8>],
}

impl<'a> Mutator<'a> {
    /// Mutations of `inputs`, which are some; the seed decides all of them.
    pub fn new(inputs: &'a [Vec<u8>], seed: u64) -> Self {
        Self { random: ChaCha8Rng::seed_from_u64(seed), inputs }
    }

    fn below(&mut self, count: usize) -> usize {
        self.random.random_range(0..count.max(1))
    }

    /// One of the inputs with a few changes.
    pub fn mutation(&mut self) -> Vec<u8> {
        let which = self.below(self.inputs.len());
        let mut data = self.inputs[which].clone();
        for _ in 0..1 + self.below(4) {
            self.change(&mut data);
            data.truncate(LENGTH_MAX);
        }
        data
    }

    fn change(&mut self, data: &mut Vec<u8>) {
        let at = self.below(data.len());
        let magnitude = self.below(8);
        let length = 1 + self.below(1 << magnitude);
        let end = (at + length).min(data.len());
        match self.below(9) {
            0 if !data.is_empty() => data[at] ^= 1 << self.below(8),
            1 if !data.is_empty() => data[at] = self.random.random(),
            2 => {
                let bytes: Vec<u8> = (0..length).map(|_| self.random.random()).collect();
                data.splice(at..at, bytes);
            }
            3 => drop(data.drain(at..end)),
            // A part again, once or very often: what nests, nests deeply.
            4 => {
                let times = if self.below(4) == 0 { 2000 } else { 1 };
                let part = data[at..end].repeat(times);
                data.splice(at..at, part);
            }
            5 => self.number(data, at),
            6 => self.digits(data, at),
            7 => data.truncate(at),
            // A part of another input.
            _ => {
                let which = self.below(self.inputs.len());
                let other = &self.inputs[which];
                let from = self.random.random_range(0..other.len().max(1));
                let part = other[from.min(other.len())..(from + 4 * length).min(other.len())].to_vec();
                data.splice(at..end, part);
            }
        }
    }

    /// A number in one of the widths and orders of bytes that formats have.
    fn number(&mut self, data: &mut [u8], at: usize) {
        let number = NUMBERS[self.below(NUMBERS.len())];
        let width = 1 << self.below(4);
        let bytes = if self.below(2) == 0 {
            number.to_le_bytes()[..width].to_vec()
        } else {
            number.to_be_bytes()[8 - width..].to_vec()
        };
        let end = (at + width).min(data.len());
        data[at..end].copy_from_slice(&bytes[..end - at]);
    }

    /// Another number in the place of the next digits.
    fn digits(&mut self, data: &mut Vec<u8>, at: usize) {
        let Some(start) = data[at..].iter().position(u8::is_ascii_digit).map(|start| at + start) else { return };
        let end = data[start..].iter().position(|byte| !byte.is_ascii_digit()).map_or(data.len(), |end| start + end);
        let text = TEXTS[self.below(TEXTS.len())];
        data.splice(start..end, text.bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_mutations_and_most_differ_from_their_input() {
        let inputs = [b"{\"size\": 100}".to_vec(), Vec::new(), vec![0; 200]];
        let made = |seed| {
            let mut mutator = Mutator::new(&inputs, seed);
            (0..2000).map(|_| mutator.mutation()).collect::<Vec<_>>()
        };
        assert_eq!(made(1), made(1));
        assert_ne!(made(1), made(2));
        let changed = made(1).iter().filter(|mutation| !inputs.contains(mutation)).count();
        assert!(changed > 1500, "{changed}");
        assert!(made(1).iter().any(|mutation| String::from_utf8_lossy(mutation).contains("4294967296")));
    }
}
