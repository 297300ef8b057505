//! What the other end of a connection monitors here, and what it was last told.

use std::collections::BTreeMap;

/// Name -> generation of the exposure the peer believes up; `None`: it was told Down.
#[derive(Default)]
pub(crate) struct Watched(pub(crate) BTreeMap<String, Option<u64>>);
