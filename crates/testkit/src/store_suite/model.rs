//! A random history against a plain model, with reopening.

use std::collections::BTreeMap;

use quorate::store::{GroupWrite, Install};
use quorate_core::{Entry, GroupId, HardState, Index, NodeId, Position, SnapshotBase, SplitMix64, Term};

use super::script::{Script, entries, founding};
use super::storage::Storage;

/// What a group should hold.
#[derive(Debug, Clone, Default)]
struct Model {
    start: Position,
    entries: BTreeMap<Index, Entry>,
    hard: HardState,
}

impl Model {
    fn last(&self) -> Position {
        self.entries.values().next_back().map_or(self.start, Entry::position)
    }

    fn at(&self, index: Index) -> Position {
        self.entries.get(&index).map_or(self.start, Entry::position)
    }
}

/// Runs `steps` random operations on three groups and compares after each.
pub fn random_history(storage: &mut dyn Storage, seed: u64, steps: usize) {
    let mut random = SplitMix64::from_state(seed);
    let mut script = Script::open(storage);
    let mut models: BTreeMap<GroupId, Model> =
        ["a", "b", "c"].map(|name| (script.group(name), Model::default())).into_iter().collect();
    for step in 0..steps {
        match random.below(12) {
            0..=5 => write(&mut script, &mut models, &mut random),
            6 => compact(&mut script, &mut models, &mut random),
            7 => install(&mut script, &mut models, &mut random),
            8 => script.store.settle_anchor().expect("the anchor settles"),
            9 => script.store.reclaim().expect("dead runs are freed"),
            _ => {
                script = script.reopen();
                let notices = &script.report.notices;
                assert!(notices.is_empty(), "seed {seed}, step {step}: {notices:?}");
            }
        }
        compare(&script, &models, &format!("seed {seed}, step {step}"));
    }
}

fn pick(models: &BTreeMap<GroupId, Model>, random: &mut SplitMix64) -> GroupId {
    let at = random.below(models.len() as u64);
    *models.keys().nth(usize::try_from(at).expect("few")).expect("within")
}

fn write(script: &mut Script<'_>, models: &mut BTreeMap<GroupId, Model>, random: &mut SplitMix64) {
    let mut writes = Vec::new();
    for _ in 0..=random.below(4) {
        let group = pick(models, random);
        let model = models.get_mut(&group).expect("picked");
        if random.below(3) == 0 {
            model.hard.term = Term(model.hard.term.0 + 1);
            model.hard.voted_for = None;
        } else if model.hard.voted_for.is_none() && random.below(2) == 0 {
            model.hard.voted_for = NodeId::new(&format!("node{}", random.below(3))).ok();
        }
        let truncate_from = (random.below(3) == 0).then(|| {
            let span = model.last().index.0 - model.start.index.0;
            Index(model.start.index.0 + 1 + random.below(span + 1))
        });
        if let Some(from) = truncate_from {
            model.entries.retain(|index, _| *index < from);
        }
        let (count, bytes) = (random.below(6), usize::try_from(random.below(600)).expect("small"));
        let new = entries(model.last(), model.hard.term.0, count, bytes);
        model.entries.extend(new.iter().map(|entry| (entry.index, entry.clone())));
        writes.push(GroupWrite {
            group,
            hard_state: model.hard.clone().into(),
            truncate_from,
            entries: new.into(),
        });
    }
    script.store.write(writes).expect("a legal batch");
}

fn compact(script: &mut Script<'_>, models: &mut BTreeMap<GroupId, Model>, random: &mut SplitMix64) {
    let group = pick(models, random);
    let model = models.get_mut(&group).expect("picked");
    let span = model.last().index.0 - model.start.index.0;
    let through = Index(model.start.index.0 + random.below(span + 1));
    let start = script.store.compact(group, through).expect("a compaction");
    assert_eq!(start, model.at(through));
    model.entries.retain(|index, _| *index > through);
    model.start = start;
}

fn install(script: &mut Script<'_>, models: &mut BTreeMap<GroupId, Model>, random: &mut SplitMix64) {
    let group = pick(models, random);
    let model = models.get_mut(&group).expect("picked");
    model.hard.term = Term(model.hard.term.0 + 1);
    model.hard.voted_for = None;
    let count = 1 + random.below(10);
    let other = entries(model.start, model.hard.term.0, count, 3);
    let at = other.last().expect("at least one").position();
    let membership = founding(&["node0", "node1"]);
    let install =
        Install { base: SnapshotBase { at, time_ms: 7, membership }, hard_state: model.hard.clone().into() };
    script.store.install(group, &install).expect("an install");
    model.start = at;
    model.entries.clear();
}

fn compare(script: &Script<'_>, models: &BTreeMap<GroupId, Model>, when: &str) {
    for (group, model) in models {
        let loaded = script.load(*group);
        assert_eq!(loaded.hard_state, model.hard.clone().into(), "{when}: hard state of {group}");
        assert_eq!(loaded.start, model.start, "{when}: start of {group}");
        let log: Vec<Entry> = model.entries.values().cloned().collect();
        assert_eq!(script.log(*group), log, "{when}: log of {group}");
    }
}
