//! How full a disk is and how much of it must stay free (`safety.md` 16), in numbers and in words.

use std::fmt;

/// One of so many parts of the reserve must be free beside it before a full disk counts as one with room again: a disk at its mark
/// would otherwise change sides with every file that comes and goes.
const AGAIN_PARTS: u64 = 16;

/// How full the disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that may still be written.
    pub free_bytes: u64,
    /// Bytes that must stay free.
    pub reserve_bytes: u64,
    /// Bytes of live entries.
    pub live_bytes: u64,
    /// Bytes of the whole volume.
    pub total_bytes: u64,
    /// Files that may still be made (free inodes); `u64::MAX` where the volume has no bound of its own.
    pub free_files: u64,
    /// Files that it must stay possible to make: the database makes some for what it has taken.
    pub reserve_files: u64,
}

impl Space {
    /// Whether proposals are refused.
    pub fn is_full(self) -> bool {
        self.free_bytes < self.reserve_bytes || self.free_files < self.reserve_files
    }

    /// Bytes that have to be free before a disk that was full counts as one with room again: the reserve, and a little more.
    pub fn again_bytes(self) -> u64 {
        again(self.reserve_bytes)
    }

    /// Whether a disk that was full has room again.
    pub fn has_room_again(self) -> bool {
        self.free_bytes >= self.again_bytes() && self.free_files >= self.again_files()
    }

    /// Files that have to be left before a disk that had too few counts as one with room again.
    pub fn again_files(self) -> u64 {
        again(self.reserve_files)
    }

    /// What there is too little of: files if there are enough bytes, bytes otherwise.
    pub fn short_of(self) -> Resource {
        if self.free_files < self.again_files() && self.free_bytes >= self.reserve_bytes {
            return Resource::Inodes;
        }
        Resource::Bytes
    }

    /// What there is too little of, in words.
    pub fn shortage(self) -> Shortage {
        self.shortage_of(self.short_of())
    }

    /// How much there is of one of them, in words.
    pub fn shortage_of(self, resource: Resource) -> Shortage {
        match resource {
            Resource::Inodes => {
                let inodes = |count: u64| format!("{count} inodes");
                Shortage {
                    resource,
                    why: "the database makes files for what it has taken",
                    free: inodes(self.free_files),
                    reserve: inodes(self.reserve_files),
                    again: inodes(self.again_files()),
                }
            }
            Resource::Bytes => {
                let bytes = |count| ByteCount(count).to_string();
                Shortage {
                    resource,
                    why: "disk_reserve_bytes, or twice its log",
                    free: bytes(self.free_bytes),
                    reserve: bytes(self.reserve_bytes),
                    again: bytes(self.again_bytes()),
                }
            }
        }
    }
}

fn again(reserve: u64) -> u64 {
    reserve.saturating_add(reserve / AGAIN_PARTS)
}

/// What a disk can have too little of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Bytes.
    Bytes,
    /// Files that may still be made.
    Inodes,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Inodes => "inodes",
        })
    }
}

/// What a disk has too little of, with its unit: `135 MiB`, or `12 inodes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// Which of them it is.
    pub resource: Resource,
    /// What sets the reserve.
    pub why: &'static str,
    /// What is free.
    pub free: String,
    /// What must stay free.
    pub reserve: String,
    /// What must be free before a node that was full takes entries again.
    pub again: String,
}

/// Bytes for people: `512 B`, `41 MiB`, `1.5 GiB`; never rounded up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteCount(pub u64);

impl fmt::Display for ByteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["B", "KiB", "MiB", "GiB", "TiB"];
        let bits = self.0.checked_ilog2().unwrap_or(0) / 10;
        let at = units.len().min(bits as usize + 1) - 1;
        let unit = 1_u64 << (10 * at);
        let (whole, tenths) = (self.0 / unit, u128::from(self.0 % unit) * 10 / u128::from(unit));
        if at > 0 && whole < 10 && tenths > 0 {
            return write!(f, "{whole}.{tenths} {}", units[at]);
        }
        write!(f, "{whole} {}", units[at])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_written_for_people_and_never_rounded_up() {
        for (bytes, said) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1 KiB"),
            (1_536, "1.5 KiB"),
            ((256 << 20) - 1, "255 MiB"),
            (256 << 20, "256 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777215 TiB"),
        ] {
            assert_eq!(ByteCount(bytes).to_string(), said);
        }
    }

    const SPACE: Space = Space {
        free_bytes: 1_700,
        reserve_bytes: 1_600,
        live_bytes: 0,
        total_bytes: 1 << 20,
        free_files: u64::MAX,
        reserve_files: 0,
    };

    #[test]
    fn a_disk_at_its_mark_does_not_change_sides_with_every_file() {
        let space = |free_bytes| Space { free_bytes, ..SPACE };
        assert!(space(1_599).is_full() && !space(1_600).is_full());
        assert!(!space(1_600).has_room_again() && space(1_700).has_room_again());
        // The greatest reserve that can be set, and more.
        assert!(!Space { reserve_bytes: u64::MAX, ..SPACE }.has_room_again());
    }

    /// A volume with bytes and without inodes: the database could not make a file, and the node ended.
    #[test]
    fn a_volume_without_inodes_is_full_and_says_so() {
        let space = |free_files| Space { free_files, reserve_files: 128, ..SPACE };
        assert!(space(127).is_full() && !space(128).is_full());
        assert!(!space(135).has_room_again() && space(136).has_room_again());
        let Shortage { resource, free, reserve, again, .. } = space(12).shortage();
        assert_eq!((resource, resource.to_string()), (Resource::Inodes, "inodes".to_owned()));
        assert_eq!([&*free, &*reserve, &*again], ["12 inodes", "128 inodes", "136 inodes"]);
        let shortage = Space { free_bytes: 1_599, ..space(12) }.shortage();
        assert_eq!(
            (shortage.resource, &*shortage.free, &*shortage.again),
            (Resource::Bytes, "1.5 KiB", "1.6 KiB")
        );
    }
}
