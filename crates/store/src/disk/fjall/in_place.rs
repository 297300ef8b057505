//! Whether the files that this process has open are still the ones that the directory names.
//!
//! A file that was deleted or moved away can be written and synced as before, and is gone at the next start. So device and inode
//! of what was opened are compared with what the path names: the lock of the database after every commit, everything once a
//! second. What cannot be looked at proves nothing, and is looked at again.
//!
//! Nor is a file shorter than it was: all of them grow only. One that was cut (`truncate`, `copytruncate`) has lost what was
//! written, and takes writes and syncs as before. The newest journal's length is looked at after every commit, too.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::numbered::journals;
use crate::disk::DiskError;

/// A file or directory, as it was when the database was opened.
#[derive(Debug)]
struct Opened {
    path: PathBuf,
    identity: (u64, u64),
    /// The longest that it was; a directory may become shorter.
    bytes: u64,
}

impl Opened {
    fn at(path: PathBuf) -> Result<Self, DiskError> {
        let found = std::fs::metadata(&path).map_err(DiskError::io("look at", &path))?;
        Ok(Self::found(path, &found))
    }

    fn of(path: PathBuf, file: &File) -> Result<Self, DiskError> {
        let found = file.metadata().map_err(DiskError::io("look at", &path))?;
        Ok(Self::found(path, &found))
    }

    fn found(path: PathBuf, found: &Metadata) -> Self {
        Self { path, identity: identity(found), bytes: length(found) }
    }

    /// That its name leads to it; what it leads to, if that could be looked at.
    fn find(&self) -> Result<Option<Metadata>, DiskError> {
        match std::fs::metadata(&self.path) {
            Ok(found) if identity(&found) == self.identity => Ok(Some(found)),
            Ok(_) => Err(gone(&self.path, "another file has its name")),
            Err(error) if is_missing(&error) => Err(gone(&self.path, "it is not there")),
            Err(_) => Ok(None),
        }
    }

    fn check(&mut self) -> Result<(), DiskError> {
        let found = self.find()?;
        found.map_or(Ok(()), |found| self.check_length(&found))
    }

    /// The same of a journal, which fjall deletes once it is not needed any more.
    fn check_if_there(&mut self) -> Result<(), DiskError> {
        let found = self.find().ok().flatten();
        found.map_or(Ok(()), |found| self.check_length(&found))
    }

    fn check_length(&mut self, found: &Metadata) -> Result<(), DiskError> {
        let bytes = length(found);
        if bytes < self.bytes {
            let detail = format!("it has {bytes} bytes, and had {}", self.bytes);
            return Err(DiskError::Cut { place: self.path.display().to_string(), detail });
        }
        self.bytes = bytes;
        Ok(())
    }
}

/// What an open database consists of.
#[derive(Debug)]
pub(super) struct InPlace {
    database: PathBuf,
    /// fjall's own lock: a file that stays as long as the database.
    lock: Opened,
    others: Vec<Opened>,
    /// The newest journal that was seen.
    journal: (u64, Opened),
    /// Those before it that are still there.
    sealed: Vec<Opened>,
}

impl InPlace {
    /// Remembers a database that was just opened, and files beside it that are open.
    pub(super) fn remember(database: &Path, open: &[(&Path, &File)]) -> Result<Self, DiskError> {
        let mut others = vec![Opened::at(database.to_owned())?, Opened::at(database.join("version"))?];
        for (path, file) in open {
            others.push(Opened::of((*path).to_owned(), file)?);
        }
        let keyspaces = database.join("keyspaces");
        for entry in std::fs::read_dir(&keyspaces).map_err(DiskError::io("list", &keyspaces))? {
            let path = entry.map_err(DiskError::io("list", &keyspaces))?.path();
            if path.is_dir() {
                others.push(Opened::at(path)?);
            }
        }
        let mut all = journals(database)?;
        let (number, path) = all.pop().ok_or_else(|| gone(database, "it has no journal"))?;
        // fjall may delete one that is not needed any more.
        let sealed = all.into_iter().filter_map(|(_, path)| Opened::at(path).ok()).collect();
        let (lock, journal) = (Opened::at(database.join("lock"))?, (number, Opened::at(path)?));
        Ok(Self { database: database.to_owned(), lock, others, journal, sealed })
    }

    /// One look at one file.
    pub(super) fn check_lock(&self) -> Result<(), DiskError> {
        self.lock.find().map(drop)
    }

    /// Two looks: what was just written is in a database that will be found.
    pub(super) fn check_commit(&mut self) -> Result<(), DiskError> {
        self.check_lock()?;
        self.journal.1.check_if_there()
    }

    /// A dozen looks.
    pub(super) fn check(&mut self) -> Result<(), DiskError> {
        self.check_lock()?;
        self.others.iter_mut().try_for_each(Opened::check)?;
        self.sealed.iter_mut().try_for_each(Opened::check_if_there)?;
        self.sealed.retain(|journal| journal.path.exists());
        // fjall may begin a journal and delete an older one while the directory is listed.
        if self.look_at_journals().is_ok() { Ok(()) } else { self.look_at_journals() }
    }

    /// The known journal is there, or a later one is. Numbers follow each other: one that does not is a stranger's file, which the
    /// next start refuses.
    fn look_at_journals(&mut self) -> Result<(), DiskError> {
        let (known, opened) = &mut self.journal;
        let Ok(found) = journals(&self.database) else { return Ok(()) };
        let mut later = found.into_iter().filter(|(number, _)| number >= known);
        let Some((mut newest, mut path)) = later.next() else {
            return Err(gone(&opened.path, "it is not there, nor a later journal"));
        };
        if newest == *known {
            opened.check()?;
        }
        for (number, next) in later {
            if number == newest + 1 {
                (newest, path) = (number, next);
            }
        }
        if newest != *known
            && let Ok(opened) = Opened::at(path)
        {
            let (_, before) = std::mem::replace(&mut self.journal, (newest, opened));
            self.sealed.push(before);
        }
        Ok(())
    }
}

fn identity(found: &Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn length(found: &Metadata) -> u64 {
    if found.is_file() { found.len() } else { 0 }
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn gone(path: &Path, detail: &str) -> DiskError {
    DiskError::Gone { place: path.display().to_string(), detail: detail.to_owned() }
}
