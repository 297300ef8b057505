//! What a crash does to a write that was not synced.

/// What happens to unsynced writes when the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crash {
    /// They are lost.
    Lost,
    /// They are there.
    Kept,
    /// Sectors are half old, half new; a batch is a torn tail; half a write to a snapshot file is there, and a renamed one has
    /// both names.
    Torn,
    /// Each write has its own fate, in two bits from the lowest on, sectors in order, then the batch, then the snapshot files'
    /// bytes and names in the order of the writes: 0 lost, 1 kept, 2 torn.
    Mixed(u64),
    /// Only the process ends. All its writes are in the page cache, synced or not; the machine may still stop before they
    /// are synced.
    Process,
}

/// How far a write has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reached {
    /// In the page cache; a sync writes it to the disk.
    Dirty,
    /// In the page cache, and the system takes it for written: a sync of it failed, and no later one writes it.
    Clean,
    /// On the disk.
    Disk,
}

impl Reached {
    /// Takes note of a sync, which succeeded or failed.
    pub(super) fn synced(&mut self, ok: bool) {
        if *self == Self::Dirty {
            *self = if ok { Self::Disk } else { Self::Clean };
        }
    }
}

/// What happens to one unsynced write at a crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Lost,
    Kept,
    Torn,
}

impl Crash {
    pub(super) fn fate(self, write: usize) -> Fate {
        match self {
            Self::Lost => Fate::Lost,
            Self::Kept | Self::Process => Fate::Kept,
            Self::Torn => Fate::Torn,
            Self::Mixed(bits) => match u32::try_from(2 * write).ok().and_then(|at| bits.checked_shr(at)) {
                Some(bits) if bits & 3 == 2 => Fate::Torn,
                Some(bits) if bits & 3 != 0 => Fate::Kept,
                _ => Fate::Lost,
            },
        }
    }
}
