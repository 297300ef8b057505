//! The groups of a run: a map, counters, a counter whose clients are too many to remember, and a group whose machine some nodes
//! know in an older build.

use std::cell::Cell;
use std::rc::Rc;

use quorate::machine::{ApplyContext, Counter, Kv, RestoreError, Snapshot, SnapshotReader};
use quorate::{GroupError, GroupHandle, Members, Node, StateMachine};
use quorate_testkit::sim::{Cluster, FaultyMachine};
use serde::{Deserialize, Serialize};

pub(crate) const KV: &str = "kv";
pub(crate) const COUNT: &str = "count";
pub(crate) const MIXED: &str = "mixed";
pub(crate) const SESSIONS: &str = "sessions";

pub(crate) type Count = GroupHandle<FaultyMachine<Counter>>;
pub(crate) type Kvs = Cluster<Groups>;

/// What a script holds on each node.
#[derive(Clone)]
pub(crate) struct Groups {
    pub(crate) kv: GroupHandle<FaultyMachine<Kv>>,
    /// The first one is [`COUNT`].
    pub(crate) counts: Rc<[Count]>,
    pub(crate) sessions: Option<GroupHandle<Counter>>,
    pub(crate) mixed: Option<Mixed>,
}

impl Groups {
    /// The members of one of them.
    pub(crate) fn members(&self, group: &str) -> Members<'_> {
        let at = (0..self.counts.len()).find(|at| count_name(*at) == group);
        match (at, &self.sessions, &self.mixed) {
            (Some(at), ..) => self.counts[at].members(),
            (None, Some(sessions), _) if group == SESSIONS => sessions.members(),
            (None, _, Some(Mixed::Old(mixed))) if group == MIXED => mixed.members(),
            (None, _, Some(Mixed::New(mixed))) if group == MIXED => mixed.members(),
            _ => self.kv.members(),
        }
    }
}

/// What the nodes open.
#[derive(Debug, Clone)]
pub(crate) struct Opens {
    /// Counters.
    pub(crate) counts: usize,
    pub(crate) sessions: bool,
    pub(crate) mixed: bool,
    /// The node whose build is old.
    pub(crate) old: Rc<Cell<Option<usize>>>,
}

pub(crate) fn count_name(at: usize) -> String {
    if at == 0 { COUNT.to_owned() } else { format!("{COUNT}{at}") }
}

impl Opens {
    pub(crate) fn names(&self) -> Vec<String> {
        let counts = (0..self.counts).map(count_name);
        let sessions = self.sessions.then(|| SESSIONS.to_owned());
        let mixed = self.mixed.then(|| MIXED.to_owned());
        std::iter::once(KV.to_owned()).chain(counts).chain(sessions).chain(mixed).collect()
    }

    pub(crate) async fn open(self, node: Node) -> Result<Groups, GroupError> {
        let kv = node.group(KV, FaultyMachine(Kv::default())).await?;
        let mut counts = Vec::new();
        for at in 0..self.counts {
            counts.push(node.group(&count_name(at), FaultyMachine(Counter::default())).await?);
        }
        let sessions =
            if self.sessions { Some(node.group(SESSIONS, Counter::default()).await?) } else { None };
        let is_old = self.old.get().is_some_and(|old| node.id().as_str() == format!("node{old}"));
        let mixed = match (self.mixed, is_old) {
            (false, _) => None,
            (true, true) => Some(Mixed::Old(node.group(MIXED, Sum::<OldCommand>::default()).await?)),
            (true, false) => Some(Mixed::New(node.group(MIXED, Sum::<NewCommand>::default()).await?)),
        };
        Ok(Groups { kv, counts: counts.into(), sessions, mixed })
    }
}

/// The handle of one build or the other.
#[derive(Clone)]
pub(crate) enum Mixed {
    Old(GroupHandle<Sum<OldCommand>>),
    New(GroupHandle<Sum<NewCommand>>),
}

/// What the old build knows.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum OldCommand {
    Add(u64),
}

/// What the new build knows: the same, in the same encoding, and one more.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum NewCommand {
    Add(u64),
    AddTwice(u64),
}

pub(crate) trait Sums: Serialize + for<'de> Deserialize<'de> + Send + 'static {
    fn amount(self) -> u64;
}

impl Sums for OldCommand {
    fn amount(self) -> u64 {
        let Self::Add(amount) = self;
        amount
    }
}

impl Sums for NewCommand {
    fn amount(self) -> u64 {
        match self {
            Self::Add(amount) => amount,
            Self::AddTwice(amount) => 2 * amount,
        }
    }
}

/// A total, and how many commands made it.
#[derive(Debug)]
pub(crate) struct Sum<C> {
    total: u64,
    commands: u64,
    of: std::marker::PhantomData<fn() -> C>,
}

impl<C> Default for Sum<C> {
    fn default() -> Self {
        Self { total: 0, commands: 0, of: std::marker::PhantomData }
    }
}

impl<C: Sums> StateMachine for Sum<C> {
    type Command = C;
    type Reply = u64;
    type Query = ();
    type Answer = (u64, u64);

    fn apply(&mut self, _cx: &mut ApplyContext<'_>, command: C) -> u64 {
        (self.total, self.commands) = (self.total + command.amount(), self.commands + 1);
        self.total
    }

    fn query(&self, (): ()) -> (u64, u64) {
        (self.total, self.commands)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::from_value((self.total, self.commands))
    }

    fn restore(reader: SnapshotReader<'_>) -> Result<Self, RestoreError> {
        let (total, commands) = reader.only_value()?;
        Ok(Self { total, commands, of: std::marker::PhantomData })
    }
}
