//! The ports of proposals that have an index and wait until their entry is applied (`docs/safety.md` 12).
//!
//! Bound: permits of the handles on every node that forwards here; each port holds its own.

use std::collections::VecDeque;

use quorate_core::{Index, LogId, Term};

use crate::error::ProposeError;
use crate::ports::ProposalPort;

/// Ordered by term, then index: a node leads in rising terms, and gives rising indexes within each.
#[derive(Default)]
pub(crate) struct Waiters {
    waiting: VecDeque<(LogId, ProposalPort)>,
}

impl Waiters {
    pub(crate) fn add(&mut self, first: Index, term: Term, ports: Vec<ProposalPort>) {
        for (index, port) in (first.0..).map(Index).zip(ports) {
            self.waiting.push_back((LogId { term, index }, port));
        }
    }

    /// Answers all of them: no machine answers them any more.
    pub(crate) fn fail_all(&mut self, error: impl Fn(Index) -> ProposeError) {
        for (at, port) in self.waiting.drain(..) {
            port.fail(error(at.index));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes the port of the entry that is applied now, and answers the proposals that this entry supersedes.
    ///
    /// Once an entry of a term is applied, no entry of an earlier term can follow it in the log. Every proposal of an
    /// earlier term was superseded, whatever its index.
    pub(crate) fn take(&mut self, applied: LogId) -> Option<ProposalPort> {
        while let Some((at, _)) = self.waiting.front() {
            if at.term < applied.term {
                let (at, port) = self.waiting.pop_front().expect("just seen");
                port.fail(ProposeError::Superseded { index: at.index.0 });
            } else if *at == applied {
                return self.waiting.pop_front().map(|(_, port)| port);
            } else if at.term == applied.term && at.index < applied.index {
                // Its entry was applied before this port arrived, so the reply is lost.
                let (_, port) = self.waiting.pop_front().expect("just seen");
                port.fail(ProposeError::unknown("the entry was applied before its caller was known"));
            } else {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::error::Outcome;
    use crate::ports::{Applied, TypedPort};

    fn port() -> (ProposalPort, oneshot::Receiver<Result<Applied<()>, ProposeError>>) {
        let permits = std::sync::Arc::new(Semaphore::new(1));
        let permit = permits.try_acquire_owned().expect("one is free");
        let (sender, receiver) = oneshot::channel();
        (ProposalPort::Local(Box::new(TypedPort { sender, permit })), receiver)
    }

    fn at(index: u64, term: u64) -> LogId {
        LogId { term: Term(term), index: Index(index) }
    }

    #[test]
    fn rule_12_another_term_at_the_index_is_superseded_and_failed() {
        let mut waiters = Waiters::default();
        let (one, mut answer) = port();
        waiters.add(Index(5), Term(1), vec![one]);
        assert!(waiters.take(at(5, 2)).is_none());
        let said = answer.try_recv().expect("answered").expect_err("not applied");
        assert_eq!((said.outcome(), said), (Outcome::Failed, ProposeError::Superseded { index: 5 }));
    }

    #[test]
    fn rule_12_an_entry_of_a_later_term_before_the_index_supersedes_it_too() {
        let mut waiters = Waiters::default();
        let (one, mut answer) = port();
        waiters.add(Index(9), Term(1), vec![one]);
        assert!(waiters.take(at(4, 1)).is_none());
        assert!(answer.try_recv().is_err(), "term 1 may still reach index 9");
        assert!(waiters.take(at(5, 3)).is_none());
        assert_eq!(answer.try_recv().expect("answered"), Err(ProposeError::Superseded { index: 9 }));
    }

    #[test]
    fn rule_12_the_same_term_at_the_index_is_its_own() {
        let mut waiters = Waiters::default();
        let ((one, _a), (two, _b)) = (port(), port());
        waiters.add(Index(5), Term(2), vec![one, two]);
        assert!(waiters.take(at(4, 1)).is_none());
        assert!(waiters.take(at(5, 2)).is_some());
        assert!(waiters.take(at(6, 2)).is_some());
        assert!(waiters.is_empty());
    }

    #[test]
    fn rule_12_jumped_over_is_unknown() {
        let mut waiters = Waiters::default();
        let (one, mut answer) = port();
        waiters.add(Index(5), Term(2), vec![one]);
        assert!(waiters.take(at(7, 2)).is_none());
        assert_eq!(answer.try_recv().expect("answered").expect_err("not seen").outcome(), Outcome::Unknown);
    }
}
