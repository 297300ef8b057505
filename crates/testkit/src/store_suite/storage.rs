//! Where the suite stores things.

use quorate::store::Disk;

/// One place to store things, which can be opened again and again.
pub trait Storage {
    /// Opens it; the previous disk was dropped before.
    fn disk(&mut self) -> Box<dyn Disk>;
}

/// Makes empty storages.
pub type Factory<'a> = dyn FnMut() -> Box<dyn Storage> + 'a;
