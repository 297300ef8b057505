//! Which calls fail, how, and which outcomes are allowed.

use std::collections::BTreeMap;
use std::fmt;

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Not executed, EIO.
    Eio,
    /// Not executed, ENOSPC.
    Enospc,
    /// Half of the bytes and no error, as the system is allowed to.
    Short,
    /// Half of the bytes, and EIO to the write of the rest.
    Torn,
    /// Executed, and EIO anyway. Not for writes: there the system returns how much it wrote, if anything.
    Late,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Eio, Self::Enospc, Self::Short, Self::Torn, Self::Late];

    /// Its name in the shim.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Eio => "eio",
            Self::Enospc => "enospc",
            Self::Short => "short",
            Self::Torn => "torn",
            Self::Late => "late",
        }
    }

    fn is_for(self, call: &str) -> bool {
        let makes = ["openat", "mkdir", "rename", "ftruncate", "fallocate"].contains(&call);
        let writes = ["write", "pwrite64", "writev"].contains(&call);
        let syncs = ["fsync", "fdatasync"].contains(&call);
        match self {
            Self::Eio => true,
            Self::Enospc => makes || writes || syncs,
            Self::Short => ["read", "pread64", "write", "pwrite64"].contains(&call),
            Self::Torn => ["write", "pwrite64"].contains(&call),
            Self::Late => makes || syncs || call.starts_with("unlink"),
        }
    }
}

/// The k-th call of a name fails in some way.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) call: String,
    pub(crate) number: u64,
    pub(crate) kind: Fault,
}

impl Case {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let (call, number, kind) = (parts.next()?, parts.next()?, parts.next()?);
        let kind = Fault::ALL.into_iter().find(|one| one.word() == kind)?;
        Some(Self { call: call.to_owned(), number: number.parse().ok()?, kind })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.call, self.number, self.kind.word())
    }
}

/// Every `stride`-th call of each name, in every way it can fail. The first ones differ from name to name and from way to
/// way, so that a stride does not meet the same places each time; the last calls of a full sweep are a few too many.
pub(crate) fn cases(counted: &BTreeMap<String, u64>, stride: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut first = 0;
    for (call, count) in counted {
        for kind in Fault::ALL.into_iter().filter(|kind| kind.is_for(call)) {
            first += 7;
            let last = if stride == 1 { count + count / 10 } else { *count };
            // At least one case of each.
            let begin = 1 + first % stride.min(*count);
            let numbers = (begin..=last).step_by(usize::try_from(stride).expect("small"));
            cases.extend(numbers.map(|number| Case { call: call.clone(), number, kind }));
        }
    }
    cases
}

/// The failure, and how the worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Outcome {
    pub(crate) kind: Fault,
    pub(crate) ended: Ended,
}

/// The promised ways to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Ended {
    /// The failure had no consequence.
    Finished,
    /// A typed error at opening.
    Refused,
    /// A typed error of a call; nothing is answered after it.
    Failed,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended = match self.ended {
            Ended::Finished => "finished",
            Ended::Refused => "refused to open",
            Ended::Failed => "failed",
        };
        write!(f, "{} {ended}", self.kind.word())
    }
}
