//! How many messages a command costs a cluster that has nothing else to do.

use std::time::Duration;

use crate::script::{Lab, Link};

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
