//! Every way of damaging each file of a directory at rest, one at a time.
//!
//! `QUORATE_DISK_STRIDE=1` flips a bit of every byte; the default flips a few. `QUORATE_DAMAGE='FILE DAMAGE'` takes one, as a
//! failure prints it.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tempfile::TempDir;

use super::directory::{ENTRIES, Outcome, copy, files, fill, goes_on, outcome, seal};
use crate::SECTOR_BYTES;

/// A bit of one byte in so many is flipped by default: a few seconds' worth.
const STRIDE: usize = 997;
/// One in this many damaged directories continues to work afterwards; each with a whole file exchanged does.
const GOES_ON_EVERY: usize = 5;

fn stride() -> usize {
    std::env::var("QUORATE_DISK_STRIDE").ok().and_then(|text| text.parse().ok()).unwrap_or(STRIDE).max(1)
}

/// One way of damaging a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Damage {
    /// A bit of this byte is flipped.
    Flip(usize),
    /// The file is cut to this many bytes.
    Cut(usize),
    /// Garbage is appended.
    Grown,
    /// The block from this byte on was never written.
    Blank(usize),
    Deleted,
    /// Replaced by another file of its kind.
    Swapped(PathBuf),
    /// Replaced by its older copy.
    RolledBack,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(at) => write!(f, "flip:{at}"),
            Self::Cut(at) => write!(f, "cut:{at}"),
            Self::Grown => write!(f, "grown"),
            Self::Blank(at) => write!(f, "blank:{at}"),
            Self::Deleted => write!(f, "deleted"),
            Self::Swapped(other) => write!(f, "swapped:{}", other.display()),
            Self::RolledBack => write!(f, "rolled-back"),
        }
    }
}

impl Damage {
    fn name(&self) -> &'static str {
        match self {
            Self::Flip(_) => "flip",
            Self::Cut(_) => "cut",
            Self::Grown => "grown",
            Self::Blank(_) => "blank",
            Self::Deleted => "deleted",
            Self::Swapped(_) => "swapped",
            Self::RolledBack => "rolled back",
        }
    }

    /// Damages the file in a copy; `old` is an older copy of all of it.
    fn inflict(&self, data: &Path, name: &Path, old: &Path) {
        let path = data.join(name);
        let change = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = fs::read(&path).expect("a file reads");
            change(&mut bytes);
            make(&path, &bytes);
        };
        match self {
            Self::Flip(at) => change(&|bytes| bytes[*at] ^= 1 << (at * 5 % 8)),
            Self::Cut(at) => change(&|bytes| bytes.truncate(*at)),
            Self::Grown => change(&|bytes| bytes.extend([0xa5; 700])),
            Self::Blank(at) => change(&|bytes| {
                let end = (at + BLOCK).min(bytes.len());
                bytes[*at..end].fill(0);
            }),
            Self::Deleted => fs::remove_file(&path).expect("deleted"),
            Self::Swapped(other) => {
                let (one, two) = (fs::read(&path), fs::read(data.join(other)));
                make(&path, &two.expect("a file reads"));
                make(&data.join(other), &one.expect("a file reads"));
            }
            Self::RolledBack => {
                make(&path, &fs::read(old.join(name)).expect("a file reads"));
            }
        }
    }
}

/// Makes a new file: the one that is there may be a link.
fn make(path: &Path, bytes: &[u8]) {
    // It may be missing, if only the older copy has it.
    let _ = fs::remove_file(path);
    fs::write(path, bytes).expect("a file is written");
}

const BLOCK: usize = 512;

/// The kind of a file: its path without the numbers.
fn kind_of(name: &Path) -> String {
    let text = name.display().to_string();
    match text.as_str() {
        "db/0.jnl" => return "db/N.jnl, sealed".to_owned(),
        "db/1.jnl" => return "db/N.jnl, active".to_owned(),
        _ => {}
    }
    let mut kind = String::new();
    for part in text.split('/') {
        let letters: String = part.chars().map(|one| if one.is_ascii_digit() { 'N' } else { one }).collect();
        let letters = letters.replace("NN", "N");
        kind = if kind.is_empty() { letters } else { format!("{kind}/{letters}") };
    }
    kind
}

/// Whether one file could be mistaken for the other.
fn is_alike(one: &Path, other: &Path) -> bool {
    let is_journal = |name: &Path| name.extension().is_some_and(|extension| extension == "jnl");
    kind_of(one) == kind_of(other) || (is_journal(one) && is_journal(other))
}

/// A settled directory and an older copy of it.
struct Ground {
    _owner: TempDir,
    data: PathBuf,
    old: PathBuf,
}

impl Ground {
    fn new() -> Self {
        let owner = tempfile::tempdir().expect("a directory");
        let (first, data, old) =
            (owner.path().join("first"), owner.path().join("data"), owner.path().join("old"));
        fill(&first, 0, ENTRIES / 2);
        copy(&first, &old);
        fill(&first, ENTRIES / 2, ENTRIES);
        copy(&first, &data);
        seal(&data);
        Self { _owner: owner, data, old }
    }

    fn damages(&self) -> Vec<(PathBuf, Damage)> {
        let names = |path: &Path| -> Vec<PathBuf> {
            let name = |file: &PathBuf| file.strip_prefix(path).expect("inside").to_owned();
            files(path).iter().map(name).collect()
        };
        let now = names(&self.data);
        let mut damages = Vec::new();
        let mut first = 0;
        for name in &now {
            let bytes = fs::read(self.data.join(name)).expect("a file reads");
            first += 13;
            let mut one = |damage| damages.push((name.clone(), damage));
            for at in flips(&bytes, first) {
                one(Damage::Flip(at));
            }
            let length = bytes.len();
            let mut cuts = vec![0, 1, length / 4, length / 2, length * 3 / 4, length.saturating_sub(1)];
            if name == Path::new("anchor") {
                // Only the first sectors are in use.
                cuts.extend((1..12).map(|sector| sector * SECTOR_BYTES).flat_map(|at| [at, at + 1_000]));
            }
            cuts.retain(|at| *at < length);
            cuts.dedup();
            for at in cuts {
                one(Damage::Cut(at));
            }
            let blocks = (0..length).step_by(BLOCK * stride().div_ceil(50));
            let blank = |at: &usize| bytes[*at..(*at + BLOCK).min(length)].iter().all(|byte| *byte == 0);
            blocks.filter(|at| !blank(at)).for_each(|at| one(Damage::Blank(at)));
            one(Damage::Grown);
            one(Damage::Deleted);
            let others = now.iter().filter(|other| *other > name && is_alike(other, name));
            others.for_each(|other| one(Damage::Swapped(other.clone())));
        }
        let rolled = names(&self.old).into_iter().filter(|name| {
            fs::read(self.old.join(name)).expect("it reads")
                != fs::read(self.data.join(name)).unwrap_or_default()
        });
        damages.extend(rolled.map(|name| (name, Damage::RolledBack)));
        damages
    }

    /// Damages a copy and opens it.
    fn run(&self, (name, damage): &(PathBuf, Damage), number: usize) -> Result<Outcome, String> {
        let scratch = tempfile::tempdir().expect("a directory");
        let target = scratch.path().join("data");
        copy(&self.data, &target);
        damage.inflict(&target, name, &self.old);
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let found = outcome(&target)?;
            let whole_file = matches!(damage, Damage::Deleted | Damage::Swapped(_) | Damage::RolledBack);
            if found != Outcome::Refused && (whole_file || number.is_multiple_of(GOES_ON_EVERY)) {
                goes_on(&target, found)?;
            }
            Ok(found)
        }));
        opened.unwrap_or_else(|panic| {
            Err(format!("panicked: {}", panic.downcast_ref::<String>().cloned().unwrap_or_default()))
        })
    }
}

/// Bytes to flip. Small files say which others count, so each of their bytes matters. Long rows of zeros are alike: of the
/// anchor's empty sectors every hundredth byte is enough.
fn flips(bytes: &[u8], first: usize) -> Vec<usize> {
    let step = match bytes.len() {
        ..64 => 1,
        64..1_024 => stride().min(5),
        _ => stride(),
    };
    let begin = if step == 1 { 0 } else { first % step.min(bytes.len().max(1)) };
    let empty = |at: usize| {
        let from = at.saturating_sub(32);
        bytes[from..(at + 32).min(bytes.len())].iter().all(|byte| *byte == 0)
    };
    (begin..bytes.len()).step_by(step).filter(|at| !empty(*at) || at.is_multiple_of(101)).collect()
}

#[test]
fn rule_06_bug_70_bug_71_any_damage_of_any_file_is_seen_or_harmless() {
    let ground = Ground::new();
    assert_eq!(ground.run(&(PathBuf::from("lock"), Damage::Deleted), 0), Ok(Outcome::Correct), "unharmed");
    let damages = ground.damages();
    if let Ok(wanted) = std::env::var("QUORATE_DAMAGE") {
        let case = damages.iter().find(|(name, damage)| format!("{} {damage}", name.display()) == wanted);
        let case = case.unwrap_or_else(|| panic!("no such damage at stride {}: {wanted}", stride()));
        // Number zero continues to work.
        match ground.run(case, 0) {
            Ok(outcome) => println!("{wanted}: {outcome:?}"),
            Err(why) => panic!("{wanted}: {why}"),
        }
        return;
    }
    let outcomes = damage_each(&ground, &damages);
    for wanted in [Outcome::Refused, Outcome::Recovering, Outcome::Mended, Outcome::Correct] {
        assert!(outcomes.get(&wanted).is_some_and(|count| *count > 5), "hardly {wanted:?}: {outcomes:?}");
    }
}

/// Inflicts each damage, and prints the outcomes with their numbers.
fn damage_each(ground: &Ground, all: &[(PathBuf, Damage)]) -> BTreeMap<Outcome, u64> {
    let waiting = Mutex::new(all.iter().enumerate());
    let (outcomes, wrong) = (Mutex::new(Outcomes::new()), Mutex::new(Vec::new()));
    let work = || {
        while let Some((number, case)) = { waiting.lock().expect("no panic").next() } {
            let (name, damage) = case;
            match ground.run(case, number) {
                Ok(found) => {
                    let key = (kind_of(name), damage.name(), found);
                    *outcomes.lock().expect("no panic").entry(key).or_default() += 1;
                }
                Err(why) => {
                    wrong.lock().expect("no panic").push((format!("{} {damage}", name.display()), why));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(work);
        scope.spawn(work);
    });
    let (outcomes, wrong) = (outcomes.into_inner().expect("no panic"), wrong.into_inner().expect("no panic"));
    report(&outcomes, all.len(), &wrong);
    let (case, why) = wrong.first().cloned().unwrap_or_default();
    assert!(
        wrong.is_empty(),
        "{case}: {why}\nreplay: QUORATE_DISK_STRIDE={} QUORATE_DAMAGE='{case}' cargo test -p quorate-store --lib \
         any_damage -- --nocapture",
        stride()
    );
    sums(&outcomes)
}

type Outcomes = BTreeMap<(String, &'static str, Outcome), u64>;

fn sums(outcomes: &Outcomes) -> BTreeMap<Outcome, u64> {
    let mut sums = BTreeMap::new();
    for ((_, _, found), count) in outcomes {
        *sums.entry(*found).or_default() += count;
    }
    sums
}

fn report(outcomes: &Outcomes, damages: usize, wrong: &[(String, String)]) {
    let mut kinds: BTreeMap<&str, BTreeMap<Outcome, u64>> = BTreeMap::new();
    for ((kind, damage, found), count) in outcomes {
        println!("disk damage: {kind}: {damage}: {count} {found:?}");
        *kinds.entry(kind).or_default().entry(*found).or_default() += count;
    }
    println!(
        "disk damage: {} kinds of file, {damages} damages, stride {}: {:?}; {} wrong",
        kinds.len(),
        stride(),
        sums(outcomes),
        wrong.len()
    );
    for (case, why) in wrong {
        println!("disk damage: WRONG {case}: {why}");
    }
}
