//! Whether any checksum says that a table is damaged: asked when fjall gave up and did not say why in a way that proves it.
//!
//! The list of tables (`vN`, compared with `current` before) holds the checksum of each table. It is an archive: sections, a table
//! of contents, and a trailer that says where that begins (sfa 1.0). fjall compares checksums block by block, when it reads one.

use std::path::Path;

use xxhash_rust::xxh3::Xxh3;

use super::manifest;
use crate::disk::DiskError;

const TRAILER: usize = 4 + 1 + 1 + 16 + 8 + 8;
const TRAILER_MAGIC: &[u8] = b"SFA!";
const CONTENTS_MAGIC: &[u8] = b"TOC!";
const SECTION: &[u8] = b"tables";

/// `Damaged` if a list, or a table that a list names, is missing or does not match its checksum, twice.
pub(super) fn check_all(database: &Path) -> Result<(), DiskError> {
    for keyspace in manifest::keyspaces(database)? {
        manifest::check_list(&keyspace)?;
        check_tables(&keyspace)?;
    }
    Ok(())
}

fn check_tables(keyspace: &Path) -> Result<(), DiskError> {
    let list = keyspace.join(format!("v{}", manifest::newest_list(keyspace)?));
    let bytes = std::fs::read(&list).map_err(DiskError::unreadable(&list))?;
    let tables = parse(&bytes).ok_or_else(|| DiskError::damaged(&list, "it is not a list of tables"))?;
    for Listed { number, sum } in tables {
        let path = keyspace.join("tables").join(number.to_string());
        // One bad read proves nothing.
        if sum_of(&path)? != sum && sum_of(&path)? != sum {
            return Err(DiskError::damaged(&path, "it does not match the checksum in the list of tables"));
        }
    }
    Ok(())
}

fn sum_of(path: &Path) -> Result<u128, DiskError> {
    let mut file = std::fs::File::open(path).map_err(DiskError::unreadable(path))?;
    let mut sum = Summing(Xxh3::new());
    std::io::copy(&mut file, &mut sum).map_err(DiskError::io("read", path))?;
    Ok(sum.0.digest128())
}

struct Summing(Xxh3);

impl std::io::Write for Summing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A table as a list names it.
struct Listed {
    number: u64,
    sum: u128,
}

/// Little-endian numbers, one after the other.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn number<const N: usize>(&mut self) -> Option<u128> {
        let (bytes, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    }

    fn size<const N: usize>(&mut self) -> Option<usize> {
        self.number::<N>().and_then(|number| number.try_into().ok())
    }
}

/// The tables of a list: levels of runs of tables.
fn parse(list: &[u8]) -> Option<Vec<Listed>> {
    let mut section = Reader(section(list)?);
    let mut tables = Vec::new();
    for _level in 0..section.size::<1>()? {
        for _run in 0..section.size::<1>()? {
            for _table in 0..section.size::<4>()? {
                let number = section.number::<8>()?.try_into().ok()?;
                let _kind_of_checksum = section.number::<1>()?;
                let sum = section.number::<16>()?;
                let _sequence = section.number::<8>()?;
                tables.push(Listed { number, sum });
            }
        }
    }
    Some(tables)
}

fn section(list: &[u8]) -> Option<&[u8]> {
    let trailer = list.get(list.len().checked_sub(TRAILER)?..)?;
    let mut trailer = Reader(trailer.strip_prefix(TRAILER_MAGIC)?);
    let (_version, _kind, _sum) = (trailer.number::<1>()?, trailer.number::<1>()?, trailer.number::<16>()?);
    let contents = list.get(trailer.size::<8>()?..)?;
    let mut contents = Reader(contents.strip_prefix(CONTENTS_MAGIC)?);
    for _section in 0..contents.size::<4>()? {
        let (at, length) = (contents.size::<8>()?, contents.size::<8>()?);
        let of_name = contents.size::<2>()?;
        let (name, rest) = contents.0.split_at_checked(of_name)?;
        contents.0 = rest;
        if name == SECTION {
            return list.get(at..at.checked_add(length)?);
        }
    }
    None
}
