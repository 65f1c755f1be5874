//! What an epoch visits: the items of a source, each in its size and at every length that it has frames for.

/// A visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Visit {
    /// The item's place among those of the source.
    pub(super) item: usize,
    /// Index of its size.
    pub(super) size: usize,
    /// Index of its length.
    pub(super) length: usize,
}

/// The visits of an epoch, in the order of the items. A batch holds one size and one length, so each pair is a bucket.
#[derive(Debug, Default)]
pub(super) struct Visits {
    visits: Vec<Visit>,
    buckets: Option<Vec<u32>>,
}

impl Visits {
    /// Of items of one size and one length: each once.
    pub(super) fn of_each(num_items: usize) -> Self {
        let visits = (0..num_items).map(|item| Visit { item, size: 0, length: 0 }).collect();
        Self { visits, buckets: None }
    }

    /// Of items whose sizes have the indices `sizes`, each at all of its `lengths`, of which there are `num_lengths` in all.
    /// Where either is none, all items have the first. An item without a length is left out.
    pub(super) fn new(
        num_items: usize,
        sizes: Option<Vec<u32>>,
        lengths: Option<Vec<Vec<u32>>>,
        num_lengths: usize,
    ) -> Self {
        if sizes.is_none() && lengths.is_none() {
            return Self::of_each(num_items);
        }
        let of_item = |item: usize| {
            let size = sizes.as_ref().map_or(0, |sizes| sizes[item] as usize);
            let lengths = lengths.as_ref().map_or_else(|| vec![0], |lengths| lengths[item].clone());
            lengths.into_iter().map(move |length| Visit { item, size, length: length as usize })
        };
        let visits: Vec<Visit> = (0..num_items).flat_map(of_item).collect();
        let buckets = visits.iter().map(|visit| (visit.size * num_lengths + visit.length) as u32).collect();
        Self { visits, buckets: Some(buckets) }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.visits.len()
    }

    /// The visit at a place of the source.
    pub(super) fn get(&self, index: usize) -> Visit {
        self.visits[index]
    }

    /// The bucket of each; none where there is one.
    pub(super) fn buckets(&self) -> Option<&[u32]> {
        self.buckets.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_pair_of_size_and_length_is_a_bucket() {
        let visits = Visits::new(3, Some(vec![0, 1, 0]), Some(vec![vec![0, 2], vec![1], vec![0]]), 3);
        let all: Vec<(usize, usize, usize)> =
            (0..visits.len()).map(|i| visits.get(i)).map(|v| (v.item, v.size, v.length)).collect();
        assert_eq!(all, [(0, 0, 0), (0, 0, 2), (1, 1, 1), (2, 0, 0)]);
        assert_eq!(visits.buckets(), Some(&[0, 2, 4, 0][..]));
        let sizes = Visits::new(2, Some(vec![1, 0]), None, 1);
        assert_eq!((sizes.len(), sizes.get(0).size, sizes.buckets()), (2, 1, Some(&[1, 0][..])));
        let plain = Visits::new(2, None, None, 1);
        assert_eq!((plain.len(), plain.get(1).item, plain.buckets()), (2, 1, None));
    }
}
