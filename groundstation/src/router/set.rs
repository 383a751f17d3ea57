//! Pools by their number, for questions about many at once.

/// Numbers of one word.
const WORD: usize = u64::BITS as usize;

/// Some of the pools; a bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct PoolSet(Vec<u64>);

impl PoolSet {
    /// Puts a pool in, or takes it out.
    pub fn set(&mut self, pool: usize, is_in: bool) {
        let (word, bit) = (pool / WORD, 1 << (pool % WORD));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word = if is_in { *word | bit } else { *word & !bit };
        }
    }

    /// Pools of this set that are in another, in order.
    pub fn and<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.words(move |at, word| word & other.word(at))
    }

    /// Pools of this set that are not in another, in order.
    pub fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = usize> + 'a {
        self.words(move |at, word| word & !other.word(at))
    }

    fn word(&self, at: usize) -> u64 {
        self.0.get(at).copied().unwrap_or(0)
    }

    fn words<'a>(
        &'a self,
        keep: impl Fn(usize, u64) -> u64 + 'a,
    ) -> impl Iterator<Item = usize> + 'a {
        self.0.iter().enumerate().flat_map(move |(at, word)| {
            let mut left = keep(at, *word);
            std::iter::from_fn(move || {
                let pool = at * WORD + left.trailing_zeros() as usize;
                let found = (left != 0).then_some(pool);
                left &= left.wrapping_sub(1);
                found
            })
        })
    }
}

impl FromIterator<usize> for PoolSet {
    fn from_iter<I: IntoIterator<Item = usize>>(pools: I) -> Self {
        let mut set = Self::default();
        pools.into_iter().for_each(|pool| set.set(pool, true));
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_unlike_lengths_are_told_apart_in_order() {
        let one: PoolSet = [1, 63, 64, 200].into_iter().collect();
        let mut other: PoolSet = [63, 5].into_iter().collect();
        assert_eq!(one.and(&other).collect::<Vec<_>>(), [63]);
        assert_eq!(one.without(&other).collect::<Vec<_>>(), [1, 64, 200]);
        assert_eq!(other.without(&one).collect::<Vec<_>>(), [5]);
        other.set(63, false);
        assert_eq!(one.and(&other).count(), 0);
        assert_eq!(one.without(&PoolSet::default()).count(), 4);
    }
}
