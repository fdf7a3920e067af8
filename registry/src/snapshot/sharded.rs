//! A hash map that shares what did not change between one image and the next.

use std::borrow::Borrow;
use std::collections::hash_map::{DefaultHasher, HashMap};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// How many pieces a map is cut into: at 100,000 entries a change copies about 400 of them.
const SHARDS_COUNT: usize = 256;

/// A hash map that is cheap to copy with one entry changed.
#[derive(Debug, Clone)]
pub(super) struct Sharded<K, V> {
    shards: Vec<Arc<HashMap<K, V>>>,
}

impl<K, V> Default for Sharded<K, V> {
    fn default() -> Self {
        Self { shards: Vec::new() }
    }
}

impl<K: Eq + Hash + Clone, V: Clone> Sharded<K, V> {
    fn shard_index<Q: Hash + ?Sized>(&self, key: &Q) -> usize {
        // Fixed keys: the same key must find the same shard in every image. The maps inside the
        // shards are keyed at random, so chosen names can fill one shard but not one bucket.
        let mut hasher = DefaultHasher::new();
        key.hash(&mut hasher);
        usize::try_from(hasher.finish() % SHARDS_COUNT as u64).unwrap_or(0)
    }

    pub(super) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        self.shards.get(self.shard_index(key))?.get(key)
    }

    /// The stored key.
    pub(super) fn key<Q>(&self, key: &Q) -> Option<&K>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let shard = self.shards.get(self.shard_index(key))?;
        shard.get_key_value(key).map(|(key, _)| key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS_COUNT];
        }
        let index = self.shard_index(&key);
        if let Some(shard) = self.shards.get_mut(index) {
            Arc::make_mut(shard).insert(key, value);
        }
    }

    /// The entry to change in place; copies the shard if an older image shares it.
    pub(super) fn get_mut<Q>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let index = self.shard_index(key);
        let shard = self.shards.get_mut(index)?;
        if !shard.contains_key(key) {
            return None;
        }
        Arc::make_mut(shard).get_mut(key)
    }

    pub(super) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let index = self.shard_index(key);
        if let Some(shard) = self.shards.get_mut(index)
            && shard.contains_key(key)
        {
            Arc::make_mut(shard).remove(key);
        }
    }

    /// Every entry, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_copy_leaves_the_original_alone() {
        let mut original: Sharded<String, i32> = Sharded::default();
        assert_eq!(original.get("a"), None);
        for number in 0..1000 {
            original.insert(number.to_string(), number);
        }
        let mut copy = original.clone();
        copy.remove("7");
        copy.insert("8".to_owned(), -8);
        if let Some(value) = copy.get_mut("9") {
            *value = -9;
        }
        assert_eq!(copy.get_mut("none"), None);
        let read = |map: &Sharded<String, i32>| ["7", "8", "9"].map(|key| map.get(key).copied());
        assert_eq!(read(&original), [Some(7), Some(8), Some(9)]);
        assert_eq!(read(&copy), [None, Some(-8), Some(-9)]);
        assert_eq!((original.iter().count(), copy.keys().count()), (1000, 999));
        assert_eq!(copy.key("8").map(String::as_str), Some("8"));
    }
}
