//! The session table against a list that is searched from end to end.

use proptest::prelude::*;

use super::*;

const SMALL: Limits = Limits { clients: 4, reply_bytes: 10, replies_bytes: 25 };

#[derive(Debug, Clone)]
struct Line {
    client: ClientId,
    sequence: u64,
    command: CommandHash,
    applied_at: Index,
    used_at: Index,
    reply: Option<Bytes>,
}

#[derive(Debug, Default)]
struct Naive {
    lines: Vec<Line>,
    forgotten_through: Index,
}

impl Naive {
    fn look_up(&mut self, key: SessionKey, command: CommandHash, at: Index) -> Option<Lookup> {
        let forgotten_through = self.forgotten_through;
        let Some(line) = self.lines.iter_mut().find(|line| line.client == key.client) else {
            let expired = key.since.is_some_and(|since| since < forgotten_through);
            return expired.then_some(Lookup::Expired { forgotten_through });
        };
        // The small sequences of this test: no one of them is half of all numbers ahead.
        if key.sequence > line.sequence {
            return None;
        }
        line.used_at = at;
        if key.sequence == line.sequence && line.command != command {
            return Some(Lookup::Mismatch { index: line.applied_at });
        }
        if key.sequence == line.sequence {
            return Some(Lookup::Repeated { index: line.applied_at, reply: line.reply.clone() });
        }
        Some(Lookup::Stale { last: line.sequence, index: line.applied_at })
    }

    fn record(&mut self, key: SessionKey, command: CommandHash, at: Index, reply: Option<Bytes>) {
        self.lines.retain(|line| line.client != key.client);
        let reply = reply.filter(|reply| reply.len() <= SMALL.reply_bytes);
        self.lines.push(Line {
            client: key.client,
            sequence: key.sequence,
            command,
            applied_at: at,
            used_at: at,
            reply,
        });
        self.lines.sort_by_key(|line| line.used_at);
        while self.lines.len() > SMALL.clients {
            self.forgotten_through = self.lines.remove(0).used_at;
        }
        for at in 0..self.lines.len() {
            let bytes: usize = self.lines.iter().flat_map(|line| &line.reply).map(Bytes::len).sum();
            if bytes > SMALL.replies_bytes {
                self.lines[at].reply = None;
            }
        }
    }
}

fn key(client: u128, sequence: u64) -> SessionKey {
    SessionKey::new(ClientId(client), sequence)
}

/// The command of a test in which it does not matter.
const COMMAND: CommandHash = CommandHash(1);

fn applied(table: &mut ClientSessions, key: SessionKey, at: u64) {
    assert_eq!(table.look_up(key, COMMAND, Index(at)), None, "at {at}");
    table.record(key, COMMAND, Index(at), Some(Bytes::from(at.to_string())));
}

proptest! {
    #[test]
    fn the_table_is_the_naive_list(
        steps in prop::collection::vec(
            (0..8_u128, 0..6_u64, 0..2_u128, prop::option::of(0..40_u64), 0..14_usize),
            1..120,
        ),
        cut in 0..120_usize,
    ) {
        let (mut table, mut naive) = (ClientSessions::with_limits(SMALL), Naive::default());
        for (step, (client, sequence, command, since, reply)) in steps.into_iter().enumerate() {
            let at = Index(step as u64 * 2 + 1);
            let key = SessionKey { since: since.map(Index), ..key(client, sequence) };
            let command = CommandHash(command);
            let found = table.look_up(key, command, at);
            prop_assert_eq!(&found, &naive.look_up(key, command, at));
            if found.is_none() {
                let reply = (reply > 0).then(|| Bytes::from(vec![7; reply]));
                table.record(key, command, at, reply.clone());
                naive.record(key, command, at, reply);
            }
            prop_assert!(table.len() <= SMALL.clients);
            if step == cut {
                let back = ClientSessions::of_image(table.image(), SMALL, at);
                table = back.expect("an image is valid");
            }
        }
    }
}

#[test]
fn bug_75_a_retry_gets_the_recorded_reply_and_an_older_sequence_is_stale() {
    let mut table = ClientSessions::default();
    applied(&mut table, key(1, 5), 10);
    let repeated = Some(Lookup::Repeated { index: Index(10), reply: Some(Bytes::from("10")) });
    assert_eq!(table.look_up(key(1, 5), COMMAND, Index(11)), repeated);
    assert_eq!(table.look_up(key(1, 5), COMMAND, Index(12)), repeated, "as often as it is asked");
    applied(&mut table, key(1, 9), 13);
    assert_eq!(
        table.look_up(key(1, 5), COMMAND, Index(14)),
        Some(Lookup::Stale { last: 9, index: Index(13) })
    );
    assert_eq!(
        table.look_up(key(1, 7), COMMAND, Index(15)),
        Some(Lookup::Stale { last: 9, index: Index(13) })
    );
}

#[test]
fn bug_76_the_client_used_least_recently_is_forgotten_at_the_bound() {
    let mut table = ClientSessions::default();
    let full = CLIENTS_MAX as u64;
    for client in 1..=full {
        applied(&mut table, key(client.into(), 1), client);
    }
    // Client 1 is used again, so client 2 goes when one more comes.
    assert!(matches!(table.look_up(key(1, 1), COMMAND, Index(full + 1)), Some(Lookup::Repeated { .. })));
    applied(&mut table, key(u128::MAX, 1), full + 2);
    assert_eq!(table.len(), CLIENTS_MAX);
    assert!(matches!(table.look_up(key(1, 1), COMMAND, Index(full + 3)), Some(Lookup::Repeated { .. })));
    assert!(matches!(table.look_up(key(3, 1), COMMAND, Index(full + 4)), Some(Lookup::Repeated { .. })));
    // It first came after index 1 and was last here at index 2: it is told, not applied twice.
    let expired = Some(Lookup::Expired { forgotten_through: Index(2) });
    assert_eq!(table.look_up(key(2, 1).since(Index(1)), COMMAND, Index(full + 5)), expired);
    // A client that first came after index 2 was never forgotten.
    assert_eq!(table.look_up(key(77_777, 1).since(Index(2)), COMMAND, Index(full + 6)), None);
    assert_eq!(table.look_up(key(2, 1), COMMAND, Index(full + 7)), None, "without since it is taken for new");
}

#[test]
fn a_long_reply_costs_the_reply_and_never_the_sequence() {
    let mut table = ClientSessions::with_limits(SMALL);
    table.record(key(1, 1), COMMAND, Index(1), Some(Bytes::from_static(&[0; 11])));
    assert_eq!(
        table.look_up(key(1, 1), COMMAND, Index(2)),
        Some(Lookup::Repeated { index: Index(1), reply: None })
    );
    for client in 2..=4 {
        table.record(key(client, 1), COMMAND, Index(client as u64 + 1), Some(Bytes::from_static(&[0; 10])));
    }
    assert_eq!(
        table.look_up(key(2, 1), COMMAND, Index(6)),
        Some(Lookup::Repeated { index: Index(3), reply: None })
    );
    assert!(matches!(
        table.look_up(key(3, 1), COMMAND, Index(7)),
        Some(Lookup::Repeated { reply: Some(_), .. })
    ));
}

#[test]
fn images_that_make_no_sense_are_refused() {
    let image = |client: u128, applied_at: u64, used_at: u64| SessionImage {
        client: ClientId(client),
        sequence: 1,
        command: None,
        applied_at: Index(applied_at),
        used_at: Index(used_at),
        reply: None,
    };
    let refused = |forgotten_through: u64, sessions: Vec<SessionImage>| {
        let image = SessionsImage { forgotten_through: Index(forgotten_through), sessions };
        matches!(
            ClientSessions::of_image(image, Limits::default(), Index(10)),
            Err(RestoreError::Invalid { .. })
        )
    };
    assert!(!refused(0, vec![image(1, 1, 1), image(2, 2, 10)]));
    assert!(refused(0, vec![image(1, 1, 11)]), "used after the snapshot");
    assert!(refused(0, vec![image(1, 3, 2)]), "applied after it was used");
    assert!(refused(0, vec![image(1, 1, 2), image(2, 2, 2)]), "two at one index");
    assert!(refused(0, vec![image(1, 1, 1), image(1, 2, 2)]), "one client twice");
    assert!(refused(5, vec![image(1, 1, 5)]), "used before what was forgotten");
    let many = (1..=CLIENTS_MAX as u64 + 1).map(|at| image(at.into(), at, at)).collect();
    let many = SessionsImage { forgotten_through: Index(0), sessions: many };
    assert!(
        ClientSessions::of_image(many, Limits::default(), Index(1_000_000)).is_err(),
        "more than the bound"
    );
}

#[test]
fn another_command_under_the_sequence_is_told_from_a_retry() {
    let mut table = ClientSessions::default();
    let (first, other) = (CommandHash(1), CommandHash(2));
    table.record(key(1, 5), first, Index(10), None);
    assert_eq!(table.look_up(key(1, 5), other, Index(11)), Some(Lookup::Mismatch { index: Index(10) }));
    let repeated = Some(Lookup::Repeated { index: Index(10), reply: None });
    assert_eq!(table.look_up(key(1, 5), first, Index(12)), repeated);
    // What was applied under an earlier sequence is not kept, so it may have been this one.
    table.record(key(1, 6), other, Index(13), None);
    assert_eq!(table.look_up(key(1, 5), other, Index(14)), Some(Lookup::Stale { last: 6, index: Index(13) }));
}
