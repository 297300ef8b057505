//! Random histories, good and bad, as input for checkers.

use std::collections::BTreeMap;

use quorate_testkit::history::{Call, Ended, History, Operation, Reply, Value};

/// SplitMix64: the same numbers for the same seed on every machine.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A few operations at random moments, on few values so that they meet. Mostly unlike any register: most are bad.
pub(crate) fn any_history(random: &mut Random) -> History {
    let count = 1 + random.below(6);
    let operations = (0..count).map(|client| {
        let start = random.below(12) * 16 + client;
        let call = any_call(random);
        let ended = match random.below(8) {
            0 => Ended::Refused,
            1 | 2 => Ended::Unknown,
            _ => {
                let at = start + 1 + random.below(6) * 16;
                Ended::Replied { at: at * 16 + 8, reply: any_reply(random, call) }
            }
        };
        Operation { client: client as u32, key: "k".into(), call, start: start * 16, ended }
    });
    History { operations: operations.collect() }
}

fn any_value(random: &mut Random) -> Option<Value> {
    Some(random.below(3)).filter(|value| *value > 0)
}

pub(crate) fn any_call(random: &mut Random) -> Call {
    match random.below(6) {
        0 | 1 => Call::Read,
        2 | 3 => Call::Write(1 + random.below(3)),
        4 => Call::CompareAndSet { expected: any_value(random), value: 1 + random.below(3) },
        _ => Call::Delete,
    }
}

fn any_reply(random: &mut Random, call: Call) -> Reply {
    match call {
        Call::Read => Reply::Value(any_value(random)),
        Call::Write(_) => Reply::Written,
        Call::CompareAndSet { .. } if random.below(2) == 0 => Reply::Swapped,
        Call::CompareAndSet { .. } => Reply::Kept { current: any_value(random) },
        Call::Delete => Reply::Deleted { existed: random.below(2) == 0 },
    }
}

/// A register that really ran: each operation happens at a moment within it. Sometimes one reply is then spoilt.
pub(crate) fn register_history(random: &mut Random) -> History {
    let count = 1 + random.below(7);
    let mut runs = BTreeMap::new();
    let mut operations = Vec::new();
    for client in 0..count {
        let (start, length) = (random.below(200), 1 + random.below(80));
        let happens = start + random.below(length);
        let ended = random.below(8);
        operations.push(Operation {
            client: client as u32,
            key: "k".into(),
            call: any_call(random),
            start: start * 16 + client,
            ended: Ended::Unknown,
        });
        // One of unknown outcome may happen much later, or never.
        let late = if ended == 1 { random.below(300) } else { 0 };
        if ended > 1 || (ended == 1 && random.below(2) == 0) {
            // Ends lie between starts: 8 to 15 of each sixteen.
            let end = (ended > 1).then_some((start + length) * 16 + 8 + client);
            runs.insert((happens + late, client), end);
        } else if ended == 0 {
            operations[client as usize].ended = Ended::Refused;
        }
    }
    let mut holds = None;
    for ((_, client), end) in runs {
        let operation = &mut operations[client as usize];
        let (reply, after) = run(holds, operation.call);
        holds = after;
        if let Some(at) = end {
            operation.ended = Ended::Replied { at, reply };
        }
    }
    if random.below(2) == 0 {
        let at = random.below(count) as usize;
        let call = operations[at].call;
        if let Ended::Replied { reply, .. } = &mut operations[at].ended {
            *reply = any_reply(random, call);
        }
    }
    History { operations }
}

/// The register, said once more and another way than in the checker.
pub(crate) fn run(holds: Option<Value>, call: Call) -> (Reply, Option<Value>) {
    match call {
        Call::Read => (Reply::Value(holds), holds),
        Call::Write(value) => (Reply::Written, Some(value)),
        Call::CompareAndSet { expected, value } if expected == holds => (Reply::Swapped, Some(value)),
        Call::CompareAndSet { .. } => (Reply::Kept { current: holds }, holds),
        Call::Delete => (Reply::Deleted { existed: holds.is_some() }, None),
    }
}

/// What a register does wrong in a history that [`concurrent_history`] makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wrong {
    Nothing,
    /// An acknowledged change is lost.
    Loses,
    /// A read sees what was there before.
    ReadsOld,
    /// What was refused happens.
    DoesRefused,
    /// What was replied to happens a second time, later.
    DoesTwice,
    /// A compare-and-set does not compare.
    SwapsAlways,
}

/// An operation under way: its place in the history, and its reply once it has happened.
type Open = (usize, Option<Reply>);

/// Clients, one operation at a time each, on a few registers. In half of the histories a register does something wrong
/// now and then; not every such wrong can be seen.
pub(crate) fn concurrent_history(random: &mut Random) -> History {
    const WRONGS: [Wrong; 10] = [
        Wrong::Nothing,
        Wrong::Nothing,
        Wrong::Nothing,
        Wrong::Nothing,
        Wrong::Nothing,
        Wrong::Loses,
        Wrong::ReadsOld,
        Wrong::DoesRefused,
        Wrong::DoesTwice,
        Wrong::SwapsAlways,
    ];
    let wrong = WRONGS[random.below(10) as usize];
    let (clients, keys) = (2 + random.below(4) as usize, 1 + random.below(3) as usize);
    let mut holds = vec![None; keys];
    let mut held = vec![None; keys];
    let mut open: Vec<Option<Open>> = vec![None; clients];
    let mut later: Vec<(usize, Call)> = Vec::new();
    let mut operations: Vec<Operation> = Vec::new();
    for moment in 1..40 + random.below(120) {
        let client = random.below(clients as u64) as usize;
        let goes_wrong = random.below(3) == 0;
        match open[client] {
            None => {
                let key = random.below(keys as u64);
                let call = match any_call(random) {
                    // Mostly a value of its own; some values come back, which is harder to judge.
                    Call::Write(_) if random.below(4) > 0 => Call::Write(100 + moment),
                    other => other,
                };
                open[client] = Some((operations.len(), None));
                let (key, client) = (key.to_string(), client as u32);
                operations.push(Operation { client, key, call, start: moment, ended: Ended::Unknown });
            }
            Some((at, None)) => {
                let (key, call) = (key_of(&operations[at]), operations[at].call);
                if random.below(12) == 0 {
                    operations[at].ended = Ended::Refused;
                    open[client] = None;
                    if wrong == Wrong::DoesRefused {
                        (held[key], holds[key]) = (holds[key], run(holds[key], call).1);
                    }
                    continue;
                }
                let (mut reply, mut after) = run(holds[key], call);
                match (wrong, call) {
                    (Wrong::Loses, _) if goes_wrong => after = holds[key],
                    (Wrong::ReadsOld, Call::Read) if goes_wrong => reply = Reply::Value(held[key]),
                    (Wrong::DoesTwice, _) if goes_wrong => later.push((key, call)),
                    (Wrong::SwapsAlways, Call::CompareAndSet { value, .. }) => {
                        (reply, after) = (Reply::Swapped, Some(value));
                    }
                    (
                        Wrong::Nothing
                        | Wrong::Loses
                        | Wrong::ReadsOld
                        | Wrong::DoesRefused
                        | Wrong::DoesTwice
                        | Wrong::SwapsAlways,
                        _,
                    ) => {}
                }
                (held[key], holds[key]) = (holds[key], after);
                open[client] = Some((at, Some(reply)));
            }
            Some((at, Some(reply))) => {
                // Some are never heard of again, whether they happened or not.
                if random.below(8) > 0 {
                    operations[at].ended = Ended::Replied { at: moment, reply };
                }
                open[client] = None;
                if let Some((key, call)) = later.pop() {
                    (held[key], holds[key]) = (holds[key], run(holds[key], call).1);
                }
            }
        }
    }
    History { operations }
}

fn key_of(operation: &Operation) -> usize {
    operation.key.parse().expect("keys are numbers")
}
