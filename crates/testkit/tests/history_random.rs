//! The checker against one that tries every order, on tiny random histories: of good ones, and of bad ones.

use std::collections::BTreeMap;

use quorate_testkit::history::{Budget, Call, Ended, History, Operation, Reply, Value, check};

const HISTORIES: u64 = 15_000;

/// SplitMix64: the same numbers for the same seed on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A few operations at random moments, on few values so that they meet. Mostly unlike any register: most are bad.
fn any_history(random: &mut Random) -> History {
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

fn any_call(random: &mut Random) -> Call {
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
fn register_history(random: &mut Random) -> History {
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
fn run(holds: Option<Value>, call: Call) -> (Reply, Option<Value>) {
    match call {
        Call::Read => (Reply::Value(holds), holds),
        Call::Write(value) => (Reply::Written, Some(value)),
        Call::CompareAndSet { expected, value } if expected == holds => (Reply::Swapped, Some(value)),
        Call::CompareAndSet { .. } => (Reply::Kept { current: holds }, holds),
        Call::Delete => (Reply::Deleted { existed: holds.is_some() }, None),
    }
}

/// Whether there is an order, by trying all: of every subset that holds all operations with a reply.
fn has_order(history: &History) -> bool {
    let mut order = Vec::new();
    let happened: Vec<_> = history.operations.iter().filter(|one| one.ended != Ended::Refused).collect();
    some_order(&happened, &mut order)
}

fn some_order<'a>(operations: &[&'a Operation], order: &mut Vec<&'a Operation>) -> bool {
    let is_in = |order: &[&Operation], one: &Operation| order.iter().any(|other| other.start == one.start);
    let all_replied = operations.iter().all(|one| matches!(one.ended, Ended::Unknown) || is_in(order, one));
    if all_replied && is_right(order) {
        return true;
    }
    for operation in operations {
        if !is_in(order, operation) {
            order.push(operation);
            let found = some_order(operations, order);
            order.pop();
            if found {
                return true;
            }
        }
    }
    false
}

/// Judges a whole order: real time, and every reply.
fn is_right(order: &[&Operation]) -> bool {
    let mut holds = None;
    for (at, operation) in order.iter().enumerate() {
        let ended_before =
            |later: &&Operation| matches!(later.ended, Ended::Replied { at, .. } if at < operation.start);
        if order[at + 1..].iter().any(ended_before) {
            return false;
        }
        let (reply, after) = run(holds, operation.call);
        if matches!(operation.ended, Ended::Replied { reply: said, .. } if said != reply) {
            return false;
        }
        holds = after;
    }
    true
}

/// Compares both checkers on many histories; gives how many were good and how many bad.
fn compare(name: &str, mut history: impl FnMut(&mut Random) -> History) -> (u64, u64) {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..HISTORIES {
        let history = history(&mut Random(seed));
        let by_trying = has_order(&history);
        let checked = check(&history, Budget::default());
        assert_eq!(checked.is_ok(), by_trying, "{name}, seed {seed}: {checked:?}\n{history:#?}");
        *if by_trying { &mut good } else { &mut bad } += 1;
    }
    println!("{name}: {good} good, {bad} bad");
    (good, bad)
}

#[test]
fn the_checker_agrees_with_trying_every_order() {
    let (good, bad) = compare("any", any_history);
    assert!(good > HISTORIES / 10 && bad > HISTORIES / 10, "{good} good, {bad} bad");
    let (good, bad) = compare("of a register", register_history);
    assert!(good > HISTORIES / 10 && bad > HISTORIES / 10, "{good} good, {bad} bad");
}

#[test]
fn a_register_that_really_ran_is_always_good() {
    for seed in 0..200 {
        let mut random = Random(seed);
        // Long: clients one after another, several at once, on one register.
        let (mut moments, mut open, mut operations) = (0, Vec::new(), Vec::<Operation>::new());
        let mut holds = None;
        for _ in 0..3_000 {
            moments += 1;
            match random.below(3) {
                0 if open.len() < 8 => {
                    let call = match any_call(&mut random) {
                        Call::Write(_) => Call::Write(moments),
                        other => other,
                    };
                    open.push((operations.len(), None));
                    operations.push(Operation {
                        client: 0,
                        key: "k".into(),
                        call,
                        start: moments,
                        ended: Ended::Unknown,
                    });
                }
                1 if !open.is_empty() => {
                    let at = random.below(open.len() as u64) as usize;
                    if open[at].1.is_none() {
                        let (reply, after) = run(holds, operations[open[at].0].call);
                        open[at].1 = Some(reply);
                        holds = after;
                    }
                }
                _ if !open.is_empty() => {
                    let at = random.below(open.len() as u64) as usize;
                    // Some are never heard of again.
                    if let (operation, Some(reply)) = open[at]
                        && random.below(50) > 0
                    {
                        operations[operation].ended = Ended::Replied { at: moments, reply };
                    }
                    if open[at].1.is_some() {
                        open.swap_remove(at);
                    }
                }
                _ => {}
            }
        }
        let checked = check(&History { operations }, Budget::default());
        checked.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
    }
}
