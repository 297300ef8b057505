//! Endpoints, side by side: each is started when the one before has failed or its head start has passed, and has its own time;
//! those that were started before go on meanwhile.
//!
//! So an endpoint whose packets are dropped costs a command one head start, and not the time of those after it. Usually the first
//! endpoint answers within its head start, and no other is bothered.
//!
//! Bound: one task per endpoint; all end when this is dropped.

use std::collections::VecDeque;
use std::time::Duration;

use quorate_server::http::Endpoint;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// How long an endpoint is alone, at most: more than a linearizable read takes on a network that is well.
const HEAD_START_MAX: Duration = Duration::from_millis(300);

/// What is started for each endpoint, in their order, and ends in any order.
pub(super) struct SideBySide<F, T> {
    waiting: VecDeque<Endpoint>,
    started: JoinSet<T>,
    head_start: Duration,
    start: F,
}

impl<F, W, T> SideBySide<F, T>
where
    F: Fn(Endpoint) -> W,
    W: Future<Output = T> + Send + 'static,
    T: Send + 'static,
{
    /// `start` is what is done with an endpoint; `time` is how long it may take.
    pub(super) fn new(endpoints: &[Endpoint], time: Duration, start: F) -> Self {
        // An equal share of the time, so that the last endpoint is started before it has passed.
        let share = time / u32::try_from(endpoints.len()).unwrap_or(u32::MAX).max(1);
        let waiting = endpoints.iter().cloned().collect();
        Self { waiting, started: JoinSet::new(), head_start: share.min(HEAD_START_MAX), start }
    }

    /// The next one that ends; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<T> {
        // The one before has ended, and was not what is wanted.
        self.start_one();
        while !self.waiting.is_empty() {
            match timeout(self.head_start, self.started.join_next()).await {
                Ok(ended) => return ended.map(done),
                Err(_) => self.start_one(),
            }
        }
        self.started.join_next().await.map(done)
    }

    /// Endpoints from which something may yet come.
    pub(super) fn left(&self) -> usize {
        self.waiting.len() + self.started.len()
    }

    fn start_one(&mut self) {
        if let Some(endpoint) = self.waiting.pop_front() {
            self.started.spawn((self.start)(endpoint));
        }
    }
}

/// Starts all at once, and gives what each came to, in the order of the endpoints.
pub(super) async fn all<T: Send + 'static, W: Future<Output = T> + Send + 'static>(
    endpoints: &[Endpoint],
    start: impl Fn(Endpoint) -> W,
) -> Vec<T> {
    let mut started = JoinSet::new();
    for (at, endpoint) in endpoints.iter().enumerate() {
        let work = start(endpoint.clone());
        started.spawn(async move { (at, work.await) });
    }
    let mut ended = started.join_all().await;
    ended.sort_unstable_by_key(|(at, _)| *at);
    ended.into_iter().map(|(_, ended)| ended).collect()
}

fn done<T>(ended: Result<T, tokio::task::JoinError>) -> T {
    ended.expect("a request neither panics nor is aborted while it is waited for")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints<const N: usize>() -> [Endpoint; N] {
        std::array::from_fn(|at| Endpoint::parse(&format!("node{at}")).expect("an endpoint"))
    }

    const DAY: Duration = Duration::from_secs(86_400);

    #[tokio::test(start_paused = true)]
    async fn a_silent_endpoint_costs_its_head_start_and_goes_on() {
        let [silent, slow, good] = endpoints();
        let silence = silent.clone();
        let mut asked =
            SideBySide::new(&[silent.clone(), slow, good.clone()], DAY, move |endpoint: Endpoint| {
                let (is_silent, is_good) = (endpoint == silence, endpoint == good);
                async move {
                    let time = if is_silent {
                        DAY
                    } else if is_good {
                        Duration::ZERO
                    } else {
                        10 * HEAD_START_MAX
                    };
                    assert!(timeout(time, std::future::pending::<()>()).await.is_err());
                    endpoint.to_string()
                }
            });
        let mut ended = Vec::new();
        while let Some(one) = asked.next().await {
            ended.push((one, asked.left()));
        }
        let names = ["node2", "node1", "node0"].map(|name| format!("http://{name}:8000"));
        let expected: Vec<_> = names.into_iter().zip([2, 1, 0]).collect();
        assert_eq!(ended, expected);
    }

    #[tokio::test]
    async fn one_that_answers_at_once_is_the_only_one() {
        let started = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let count = started.clone();
        let mut asked = SideBySide::new(&endpoints::<3>(), DAY, move |_| {
            count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async {}
        });
        assert_eq!(asked.next().await, Some(()));
        assert_eq!((asked.left(), started.load(std::sync::atomic::Ordering::Relaxed)), (2, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn all_are_given_in_their_order() {
        let (three, first) = (endpoints::<3>(), endpoints::<1>()[0].clone());
        let given = all(&three, move |endpoint| {
            let time = if endpoint == first { DAY } else { Duration::ZERO };
            async move {
                assert!(timeout(time, std::future::pending::<()>()).await.is_err());
                endpoint
            }
        });
        assert_eq!(given.await, three);
    }
}
