//! Looking at a data directory without opening it.

use crate::anchor::Anchor;
use crate::disk::Disk;
use crate::error::OpenError;
use crate::store::Identity;

/// Whose directory it is, without opening it; `None` if nothing was ever stored there.
pub fn peek(disk: &dyn Disk) -> Result<Option<Identity>, OpenError> {
    if disk.anchor_exists()? {
        return Ok(Some((&Anchor::load(disk)?.0.identity).into()));
    }
    if disk.database_exists()? {
        return Err(OpenError::DatabaseWithoutAnchor { place: disk.place() });
    }
    Ok(None)
}
