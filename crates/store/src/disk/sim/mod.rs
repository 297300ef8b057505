//! A simulated disk: in memory, deterministic, and as unkind as asked.

mod disk;
mod fate;
mod files;
mod image;
mod rot;
mod snapshots;

pub use self::disk::SimDisk;
pub use self::fate::Crash;
pub use self::image::SimImage;
pub use self::rot::Rot;
