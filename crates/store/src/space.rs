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
}

impl Space {
    /// Whether proposals are refused.
    pub fn is_full(self) -> bool {
        self.free_bytes < self.reserve_bytes
    }

    /// Whether a disk that was full has room again: the reserve, and a little more.
    pub fn has_room_again(self) -> bool {
        self.free_bytes >= self.reserve_bytes + self.reserve_bytes / AGAIN_PARTS
    }
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

    #[test]
    fn a_disk_at_its_mark_does_not_change_sides_with_every_file() {
        let space =
            |free_bytes| Space { free_bytes, reserve_bytes: 1_600, live_bytes: 0, total_bytes: 1 << 20 };
        assert!(space(1_599).is_full() && !space(1_600).is_full());
        assert!(!space(1_600).has_room_again() && space(1_700).has_room_again());
    }
}
