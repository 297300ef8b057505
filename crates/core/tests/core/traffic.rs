//! How many messages a command or a read costs a cluster that has nothing else to do.

use std::time::Duration;

use quorate_core::{Index, ReadId};

use crate::script::{Lab, Link};
use crate::world::ReplicaEvent;

/// Carries messages and writes until nothing is left, and counts the messages. Time stands still.
fn carried(lab: &mut Lab) -> usize {
    let mut messages = 0;
    loop {
        let now = lab.deliver_on(Link::default());
        messages += now;
        let writes = (0..lab.nodes.len()).filter(|at| lab.persist_one(*at)).count();
        if now + writes == 0 {
            return messages;
        }
    }
}

/// Each commit was a heartbeat and its reply beside the entries and theirs, for each peer: eight messages.
#[test]
fn a_put_takes_four_messages_and_the_last_of_several_is_told_a_little_later() {
    let soon = Duration::from_millis(2);
    let mut lab = Lab::new(3, 0);
    lab.config.untold_commit_max = soon;
    lab.start_all();
    lab.elect(0);
    assert_eq!((lab.commit(1), lab.commit(2)), (1, 1), "the no-op is told");
    for put in 1..=3 {
        lab.propose(0, "put");
        assert_eq!(carried(&mut lab), 4, "put {put}: entries to each peer, and what each answers");
        assert_eq!((lab.commit(0), lab.commit(1), lab.commit(2)), (put + 1, put, put));
    }
    lab.wait(soon);
    lab.tick(0);
    assert_eq!(carried(&mut lab), 4, "no put came that would have carried it");
    assert_eq!((lab.commit(1), lab.commit(2)), (4, 4));
}

/// Each was a request to the leader, a round of its heartbeats and an answer.
#[test]
fn reads_of_a_follower_that_come_together_take_the_messages_of_one() {
    for reads in [1, 5] {
        let mut lab = Lab::elected(3);
        lab.step(1, ReplicaEvent::Read((1..=reads).map(ReadId).collect()));
        assert_eq!(carried(&mut lab), 6, "a request, a round with two peers, an answer");
        assert!((1..=reads).all(|read| lab.nodes[1].reads.get(&read) == Some(&Some(Index(1)))));
    }
}
