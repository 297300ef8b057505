//! How a group's log lies in the database, and what is in memory of it.

mod group;
mod index;
mod newer;
mod records;
mod runs;

pub(crate) use self::group::GroupState;
pub(crate) use self::index::Boundary;
pub(crate) use self::records::{
    DATABASE_KEY, DatabaseRecord, Marker, NameRecord, PeerRecord, RECORD_VERSION, RecordError, Row, decode,
    encode, parse_name_key, parse_peer_key, parse_run_key, peer_key, put, run_key,
};
pub(crate) use self::runs::walk;
