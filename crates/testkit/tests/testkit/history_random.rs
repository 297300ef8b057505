//! The checker against one that tries every order, on tiny random histories: of good ones, and of bad ones.

use quorate_testkit::history::{Budget, Call, Ended, History, Operation, check};

use crate::histories::{Random, any_call, any_history, concurrent_history, register_history, run};

const HISTORIES: u64 = 15_000;

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

/// Some replies are never heard of; under attack that is every third.
#[test]
fn a_register_that_really_ran_is_always_good() {
    let seeds = (0..200).map(|seed| (seed, 20)).chain((0..15).map(|seed| (seed, 350)));
    for (seed, lost_of_thousand) in seeds {
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
                    if let (operation, Some(reply)) = open[at]
                        && random.below(1_000) >= lost_of_thousand
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
        checked.unwrap_or_else(|why| panic!("seed {seed}, {lost_of_thousand} of 1000 lost: {why}"));
    }
}

/// The comparison with porcupine-rs (`compare/`) is worth as much as its histories: both verdicts are frequent.
#[test]
fn clients_of_several_registers_make_good_histories_and_bad_ones() {
    let bad =
        (0..1_000).filter(|&seed| check(&concurrent_history(&mut Random(seed)), Budget::default()).is_err());
    let bad = bad.count();
    assert!((200..800).contains(&bad), "{bad} of 1000 are bad");
}
