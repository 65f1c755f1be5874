//! Which sample stands in which slot of a run.

use anneal_torch::random::Stream;

/// The order samples are visited in: a pure function of the seed and the slot.
///
/// A slot is one place of one batch, counted through the whole run; slot `s` of `n` samples is in epoch `s / n`.
#[derive(Debug)]
pub(super) struct Order {
    seed: u64,
    num_samples: usize,
    shuffle: bool,
    /// The last epoch asked for and its permutation, so that neighbouring slots do not draw it again.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// The order of `num_samples` samples, shuffled in each epoch or as they are.
    pub(super) fn new(seed: u64, num_samples: usize, shuffle: bool) -> Self {
        Self { seed, num_samples, shuffle, epoch: None }
    }

    /// Index of the sample `ahead` places after slot `slot`, staying within the slot's epoch.
    pub(super) fn at(&mut self, slot: u64, ahead: usize) -> usize {
        let n = self.num_samples as u64;
        let (epoch, place) = (slot / n, ((slot % n) as usize + ahead) % self.num_samples);
        if !self.shuffle {
            return place;
        }
        match &self.epoch {
            Some((known, order)) if *known == epoch => order[place],
            _ => {
                let order = Stream::new(self.seed, "order", epoch, 0).permutation(self.num_samples);
                let index = order[place];
                self.epoch = Some((epoch, order));
                index
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_epoch_visits_every_sample_once_in_an_order_of_its_own() {
        let mut order = Order::new(3, 10, true);
        let epoch = |order: &mut Order, e: u64| -> Vec<usize> { (0..10).map(|i| order.at(10 * e + i, 0)).collect() };
        let (first, second) = (epoch(&mut order, 0), epoch(&mut order, 1));
        assert_ne!(first, second);
        assert_eq!(first, epoch(&mut Order::new(3, 10, true), 0), "a fresh order is the same");
        for mut visited in [first, second] {
            visited.sort_unstable();
            assert_eq!(visited, (0..10).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unshuffled_samples_come_as_they_are_and_ahead_wraps_within_the_epoch() {
        let mut order = Order::new(3, 4, false);
        assert_eq!((0..6).map(|slot| order.at(slot, 0)).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
        assert_eq!(order.at(3, 2), 1);
    }
}
