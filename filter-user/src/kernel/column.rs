//! Entries of one map side by side, as batch calls want them.

use ipnet::IpNet;

/// Keys and values, and whose they are.
pub(super) struct Column<K, V> {
    networks: Vec<IpNet>,
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for Column<K, V> {
    fn default() -> Self {
        Self { networks: Vec::new(), keys: Vec::new(), values: Vec::new() }
    }
}

impl<K, V: Copy> Column<K, V> {
    pub(super) fn push(&mut self, network: IpNet, key: K, value: V) {
        self.networks.push(network);
        self.keys.push(key);
        self.values.push(value);
    }

    /// Runs a batch call, which says how many it has done, and returns the rest.
    pub(super) fn rest(&self, call: impl FnOnce(&[K], &[V]) -> usize) -> Vec<(IpNet, V)> {
        let done = if self.keys.is_empty() { 0 } else { call(&self.keys, &self.values) };
        self.networks.iter().copied().zip(self.values.iter().copied()).skip(done).collect()
    }
}
