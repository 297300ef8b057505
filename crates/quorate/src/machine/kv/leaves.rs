//! An ordered map that is cheap to copy: sorted runs of up to [`LEAF_ITEMS_MAX`] items, each shared until it is written.
//!
//! A snapshot of a map of a million keys copies some thousands of pointers; a write after it copies one run. A plain
//! `BTreeMap` in an `Arc` would copy the whole map at the first write, and the applier would stand still for it. Runs are
//! split when full and dropped when empty, never joined: deletions leave short runs, which cost some memory and no order.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

const LEAF_ITEMS_MAX: usize = 128;

type Leaf<K, V> = Arc<Vec<(K, V)>>;

/// Invariants: no leaf is empty; a leaf's keys rise, none is below its key in the map, and all are below the key of
/// the next leaf; `len` is the sum of their lengths.
#[derive(Debug, Clone)]
pub(super) struct Leaves<K, V> {
    leaves: BTreeMap<K, Leaf<K, V>>,
    len: usize,
}

impl<K, V> Default for Leaves<K, V> {
    fn default() -> Self {
        Self { leaves: BTreeMap::new(), len: 0 }
    }
}

impl<K: Ord + Clone, V: Clone> Leaves<K, V> {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
    {
        let (_, leaf) = self.leaves.range((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let at = find(leaf, key).ok()?;
        Some(&leaf[at].1)
    }

    /// Sets a key and returns what was there.
    pub(super) fn insert(&mut self, key: K, value: V) -> Option<V> {
        let Some((_, leaf)) = self.leaves.range_mut(..=&key).next_back() else {
            return self.insert_first(key, value);
        };
        let leaf = Arc::make_mut(leaf);
        match find(leaf, &key) {
            Ok(at) => return Some(std::mem::replace(&mut leaf[at].1, value)),
            Err(at) => leaf.insert(at, (key, value)),
        }
        self.len += 1;
        if leaf.len() > LEAF_ITEMS_MAX {
            // What comes in order is appended, and should leave full leaves behind.
            let upper = leaf.split_off(LEAF_ITEMS_MAX / 2);
            self.leaves.insert(upper[0].0.clone(), Arc::new(upper));
        }
        None
    }

    /// A key below all others: it goes into the first leaf, if that has room, which then stands under it.
    fn insert_first(&mut self, key: K, value: V) -> Option<V> {
        let mut items = vec![(key.clone(), value)];
        if let Some(first) = self.leaves.first_entry()
            && first.get().len() < LEAF_ITEMS_MAX
        {
            items.extend(first.remove().iter().cloned());
        }
        self.leaves.insert(key, Arc::new(items));
        self.len += 1;
        None
    }

    pub(super) fn remove<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
    {
        let (under, leaf) = self.leaves.range_mut((Bound::Unbounded, Bound::Included(key))).next_back()?;
        let at = find(leaf, key).ok()?;
        self.len -= 1;
        if leaf.len() > 1 {
            return Some(Arc::make_mut(leaf).remove(at).1);
        }
        let under = under.clone();
        let leaf = self.leaves.remove(under.borrow())?;
        leaf.first().map(|(_, value)| value.clone())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &(K, V)> {
        self.leaves.values().flat_map(|leaf| leaf.iter())
    }

    /// All items from `key` on.
    pub(super) fn from<Q: Ord + ?Sized>(&self, key: &Q) -> impl Iterator<Item = &(K, V)>
    where
        K: Borrow<Q>,
    {
        let before = self.leaves.range((Bound::Unbounded, Bound::Included(key))).next_back();
        let head = before.map_or(&[][..], |(_, leaf)| {
            let at = find(leaf, key).unwrap_or_else(|at| at);
            &leaf[at..]
        });
        let rest = self.leaves.range((Bound::Excluded(key), Bound::Unbounded));
        head.iter().chain(rest.flat_map(|(_, leaf)| leaf.iter()))
    }
}

fn find<K: Borrow<Q>, V, Q: Ord + ?Sized>(leaf: &[(K, V)], key: &Q) -> Result<usize, usize> {
    leaf.binary_search_by(|(at, _)| at.borrow().cmp(key))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(map: &Leaves<u16, u32>, model: &BTreeMap<u16, u32>) {
        assert_eq!(map.len(), model.len());
        assert!(map.iter().map(|(k, v)| (k, v)).eq(model.iter()));
        for (under, leaf) in &map.leaves {
            assert!(!leaf.is_empty() && leaf.len() <= LEAF_ITEMS_MAX + 1 && leaf[0].0 >= *under);
        }
    }

    proptest! {
        #[test]
        fn leaves_are_a_btree_map(
            steps in prop::collection::vec((any::<bool>(), 0..2_000_u16, any::<u32>()), 0..3_000),
            from in any::<u16>(),
        ) {
            let (mut map, mut model) = (Leaves::default(), BTreeMap::new());
            let mut copies = Vec::new();
            for (step, (insert, key, value)) in steps.into_iter().enumerate() {
                if step % 500 == 0 {
                    copies.push((map.clone(), model.clone()));
                }
                prop_assert_eq!(map.get(&key), model.get(&key));
                if insert {
                    prop_assert_eq!(map.insert(key, value), model.insert(key, value));
                } else {
                    prop_assert_eq!(map.remove(&key), model.remove(&key));
                }
            }
            check(&map, &model);
            prop_assert!(map.from(&from).map(|(k, v)| (k, v)).eq(model.range(from..)));
            for (map, model) in &copies {
                check(map, model);
            }
        }

        #[test]
        fn runs_up_and_down_keep_the_order(keys in 0..2_000_u16, down in any::<bool>()) {
            let (mut map, mut model) = (Leaves::default(), BTreeMap::new());
            for key in 0..keys {
                let key = if down { keys - key } else { key };
                map.insert(key, 0);
                model.insert(key, 0);
            }
            check(&map, &model);
            for key in 0..=keys {
                map.remove(&key);
            }
            prop_assert_eq!((map.len(), map.leaves.len()), (0, 0));
        }
    }
}
