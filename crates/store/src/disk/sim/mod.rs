//! A simulated disk: in memory, deterministic, and as unkind as asked.

mod disk;
mod image;
mod rot;

pub use self::disk::SimDisk;
pub use self::image::{Crash, SimImage};
pub use self::rot::Rot;
