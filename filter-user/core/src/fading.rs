//! A map that is bounded because it forgets: when it is full, the half that has not been touched for longer.

use core::hash::Hash;

use hashbrown::HashMap;

/// A value for each of the keys that were put lately.
#[derive(Debug)]
pub(crate) struct Fading<K, V> {
    limit: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V> Fading<K, V> {
    /// An empty one, of at most so many keys.
    pub(crate) fn new(limit: usize) -> Self {
        Self { limit, young: HashMap::new(), old: HashMap::new() }
    }

    /// Puts a value; returns the one that was there.
    pub(crate) fn put(&mut self, key: K, value: V) -> Option<V> {
        let earlier = self.old.remove(&key);
        let latest = self.young.insert(key, value);
        if self.young.len() > self.limit / 2 {
            self.old = core::mem::take(&mut self.young);
        }
        latest.or(earlier)
    }

    /// The value of a key, if it has not been forgotten.
    pub(crate) fn get(&self, key: &K) -> Option<&V> {
        self.young.get(key).or_else(|| self.old.get(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_displaces_whoever_has_not_been_there_for_longest() {
        let mut fading = Fading::new(1000);
        assert_eq!(fading.put(u32::MAX, 0), None);
        for key in 0..10_000 {
            assert_eq!(fading.put(key, key), None);
            assert_eq!(fading.put(u32::MAX, key + 1), Some(key), "who comes again and again stays");
            assert!(fading.young.len() + fading.old.len() <= 1001);
        }
        let [first, last, constant] = [0, 9_999, u32::MAX].map(|key| fading.get(&key).copied());
        assert_eq!((first, last, constant), (None, Some(9_999), Some(10_000)));
    }
}
