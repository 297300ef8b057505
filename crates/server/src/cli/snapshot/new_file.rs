//! A file that is to be made of what a node sends, whole or not at all.
//!
//! Owns a part of its own beside it, which no other process writes to, and removes it unless it got its name. Never writes over anything,
//! and follows no symlink. A crash leaves the part.

use std::fs::File;
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

use super::super::exit::{Exit, Failure};

/// Parts that others have left under the names that this process would take.
const TRIES: u32 = 100;

pub(super) struct NewFile {
    file: PathBuf,
    part: PathBuf,
    out: File,
    /// What went wrong with it, which a caller that only counts bytes does not see.
    wrong: Option<Failure>,
    has_name: bool,
}

impl NewFile {
    pub(super) fn begin(file: &Path) -> Result<Self, Failure> {
        if file.symlink_metadata().is_ok() {
            return Err(is_there(file));
        }
        for number in 0..TRIES {
            let mut part = file.as_os_str().to_owned();
            part.push(format!(".{}-{number}.part", std::process::id()));
            let part = PathBuf::from(part);
            // It holds what the data directory holds, which is private. What is there already, and a symlink, is not opened.
            match File::options().write(true).create_new(true).mode(0o600).open(&part) {
                Ok(out) => {
                    return Ok(Self { file: file.to_owned(), part, out, wrong: None, has_name: false });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(cannot_write(&part, &error)),
            }
        }
        Err(Failure::failed(format!("parts of {} are in the way: remove them", file.display())))
    }

    pub(super) fn part(&self) -> &Path {
        &self.part
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let written = self.out.write_all(bytes);
        if let Err(error) = &written {
            self.wrong = Some(cannot_write(&self.part, error));
        }
        written
    }

    /// What went wrong on this side.
    pub(super) fn wrong(&mut self) -> Option<Failure> {
        self.wrong.take()
    }

    pub(super) fn sync(&self) -> Result<(), Failure> {
        self.out.sync_all().map_err(|error| cannot_write(&self.part, &error))
    }

    /// Gives it its name, if nothing has that by now.
    pub(super) fn publish(mut self) -> Result<(), Failure> {
        match named(&self.part, &self.file) {
            Ok(()) => self.has_name = true,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Err(is_there(&self.file)),
            Err(error) => return Err(cannot_write(&self.file, &error)),
        }
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        let synced =
            File::open(parent.unwrap_or_else(|| Path::new("."))).and_then(|parent| parent.sync_all());
        synced.map_err(|error| cannot_write(&self.file, &error))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.has_name {
            // It is of no use, and takes room.
            drop(std::fs::remove_file(&self.part));
        }
    }
}

fn named(part: &Path, file: &Path) -> io::Result<()> {
    match renameat_with(CWD, part, CWD, file, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(ErrorKind::AlreadyExists.into()),
        // Some file systems know no such rename.
        Err(_) => std::fs::hard_link(part, file).and_then(|()| std::fs::remove_file(part)),
    }
}

fn is_there(file: &Path) -> Failure {
    Failure::failed(format!("{} is there already: name another file, or move it away", file.display()))
}

fn cannot_write(file: &Path, error: &io::Error) -> Failure {
    let is_full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
    let exit = if is_full { Exit::DiskFull } else { Exit::Failed };
    Failure::new(exit, format!("cannot write {}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(directory).expect("it is there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("read").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn two_of_one_name_keep_apart_and_the_first_has_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("b.snap");
        let (mut one, mut two) =
            (NewFile::begin(&file).expect("begun"), NewFile::begin(&file).expect("begun"));
        one.write(b"one").expect("written");
        two.write(b"two").expect("written");
        two.publish().expect("it is free");
        let late = one.publish().expect_err("it is there");
        assert!(late.message.contains("is there already"), "{late}");
        assert_eq!(
            (std::fs::read(&file).expect("read"), names(directory.path())),
            (b"two".to_vec(), vec!["b.snap".into()])
        );
        let mode = file.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    /// What others have put where a part or the file is to be stays what it is.
    #[test]
    fn nothing_is_written_over_and_no_symlink_followed() {
        let directory = tempfile::tempdir().expect("a directory");
        let (file, mine) = (directory.path().join("b.snap"), directory.path().join("mine"));
        std::fs::write(&mine, "precious").expect("written");
        let id = std::process::id();
        symlink(&mine, directory.path().join(format!("b.snap.{id}-0.part"))).expect("linked");
        std::fs::write(directory.path().join(format!("b.snap.{id}-1.part")), "other").expect("written");
        let mut new = NewFile::begin(&file).expect("a name is left");
        new.write(b"new").expect("written");
        symlink(&mine, &file).expect("made meanwhile");
        assert!(new.publish().is_err());
        assert!(NewFile::begin(&file).is_err(), "a symlink is there, too");
        assert_eq!(std::fs::read(&mine).expect("read"), b"precious");
        let before = [
            "b.snap".to_owned(),
            format!("b.snap.{id}-0.part"),
            format!("b.snap.{id}-1.part"),
            "mine".to_owned(),
        ];
        assert_eq!(names(directory.path()), before);
    }

    #[test]
    fn a_part_without_its_name_goes() {
        let directory = tempfile::tempdir().expect("a directory");
        drop(NewFile::begin(&directory.path().join("b.snap")).expect("begun"));
        assert!(names(directory.path()).is_empty());
    }

    #[test]
    fn a_full_disk_is_named_with_its_file_and_its_exit() {
        let failure = cannot_write(Path::new("b.part"), &ErrorKind::StorageFull.into());
        assert!(failure.exit == Exit::DiskFull && failure.message.contains("b.part"), "{failure}");
    }
}
