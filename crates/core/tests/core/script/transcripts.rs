//! Golden transcripts: a script in, every message, effect and change of state out.
//!
//! A file of `testdata/` holds commands, each on a line after `> `, and under each its output. `REWRITE=1` rewrites the
//! files; without it any difference fails, so that a change of behaviour is seen in review.

use std::fs;
use std::path::Path;

use quorate_core::{Index, PeerLink, RoleEvent};

use super::{Lab, Link};
use crate::world::{ReplicaEvent, name};

/// Runs one command. The first one creates `lab`.
fn command(lab: &mut Option<Lab>, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let (verb, args) = words.split_first().expect("a command has a verb");
    if *verb == "cluster" {
        let number = |key: &str| {
            args.iter().find_map(|a| a.strip_prefix(key)).map_or(0, |n| n.parse().expect("a number"))
        };
        let mut new = Lab::new(number("voters="), number("learners="));
        if number("entries=") > 0 {
            new.config.append_entries_max = number("entries=");
        }
        *lab = Some(new);
        return;
    }
    let lab = lab.as_mut().expect("a transcript begins with its cluster");
    if !at_node(lab, verb, args) {
        on_wire(lab, verb, args);
    }
}

fn node(word: &str) -> usize {
    word.strip_prefix('n').expect("a node is n and a number").parse().expect("a number")
}

fn at_node(lab: &mut Lab, verb: &str, args: &[&str]) -> bool {
    let first = || node(args[0]);
    let number = |at: usize| args[at].parse::<u64>().expect("a number");
    match verb {
        "log" => {
            let terms: Vec<u64> = args[2..].iter().map(|t| t.parse().expect("a term")).collect();
            lab.preset(first(), &terms, number(1));
        }
        "start" if args.is_empty() => lab.start_all(),
        "start" => lab.start(first()),
        "lose" => lab.nodes[first()].disk.lose_suffix(args[1].parse().expect("a number")),
        "crash" => lab.crash(first()),
        "tick" => lab.tick(first()),
        "campaign" => lab.campaign(first()),
        "heartbeat" => {
            lab.wait(lab.config.heartbeat_interval);
            lab.tick(first());
        }
        "wait" => lab.wait_ms(number(0)),
        "persist" if args.len() > 1 => (0..number(1)).for_each(|_| assert!(lab.persist_one(first()))),
        "persist" => lab.persist(first()),
        "propose" => args[1..].iter().for_each(|word| lab.propose(first(), word)),
        "read" => lab.read(first(), number(1)),
        "transfer" => lab.transfer(first(), args.get(1).map(|to| node(to))),
        "incarnation" => lab.incarnation(first(), node(args[1]), number(2)),
        "away" => lab.store_away(first()),
        "back" => lab.store_back(first()),
        "full" => lab.common(first(), RoleEvent::DiskFull(true)),
        "space" => lab.common(first(), RoleEvent::DiskFull(false)),
        "applied" => lab.common(first(), RoleEvent::Applied(Index(number(1)))),
        "link" => {
            let link = match args[2] {
                "up" => PeerLink::Up,
                "down" => PeerLink::Down,
                "closed" => PeerLink::Closed,
                other => panic!("not what a link becomes: {other}"),
            };
            let peer = name(node(args[1]));
            lab.step(first(), ReplicaEvent::Role(RoleEvent::Link { peer, link }));
        }
        _ => return false,
    }
    true
}

fn on_wire(lab: &mut Lab, verb: &str, args: &[&str]) {
    let side = |at: usize| args.get(at).filter(|word| **word != "*").map(|word| node(word));
    let link = Link { from: side(0), to: side(1) };
    let pair = || (node(args[0]), node(args[1]));
    match verb {
        "deliver" => {
            lab.deliver_on(link);
        }
        "duplicate" => lab.duplicate(link),
        "reverse" => lab.reverse(link),
        "drop" => lab.drop_on(link),
        "stash" => lab.stash(link),
        "unstash" => lab.unstash(),
        "settle" => lab.settle(),
        "cut" => {
            lab.cut.insert(pair());
        }
        "part" => {
            let (a, b) = pair();
            lab.cut_both(a, b);
        }
        "isolate" => lab.isolate(node(args[0])),
        "heal" => lab.heal(),
        other => panic!("no such command: {other}"),
    }
}

/// The transcript with the outputs of the current code.
fn play(script: &str) -> String {
    let mut out = String::new();
    let mut lab = None;
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            out.push_str(line);
            out.push('\n');
        } else if let Some(told) = line.strip_prefix("> ") {
            out.push_str(line);
            out.push('\n');
            command(&mut lab, told);
            out.push_str(&lab.as_mut().map(Lab::take_transcript).unwrap_or_default());
        }
    }
    out
}

#[test]
fn transcripts_are_as_written() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/core/script/testdata");
    let mut paths: Vec<_> = fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() >= 18, "the transcripts are there");
    let rewrite = std::env::var("REWRITE").is_ok();
    let mut changed = Vec::new();
    for path in paths {
        let script = fs::read_to_string(&path).unwrap();
        let now = play(&script);
        if now == script {
            continue;
        }
        if rewrite {
            fs::write(&path, now).unwrap();
        } else {
            let at = script.lines().zip(now.lines()).position(|(a, b)| a != b).unwrap_or(0);
            let (was, is) = (script.lines().nth(at).unwrap_or(""), now.lines().nth(at).unwrap_or(""));
            changed.push(format!("{}:{}\n  was {was}\n  is  {is}", path.display(), at + 1));
        }
    }
    assert!(changed.is_empty(), "REWRITE=1 accepts what changed:\n{}", changed.join("\n"));
}
