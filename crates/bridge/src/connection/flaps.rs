//! Which of a connection's ups and downs are worth a line. One that does not last is made again within a second, so that a line for
//! each would fill a disk: the first ones are told, then the 2nd, 4th, 8th .. in a row.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout;

/// A connection that lasts so long is up, and ends the row of short ones.
const STEADY: Duration = Duration::from_secs(10);

/// The connections in a row, to or from one node, that did not last.
#[derive(Debug, Default)]
pub(crate) struct Flaps {
    short: u64,
}

impl Flaps {
    /// Whether the next connection is worth a line as soon as it is up, and how many before it did not last.
    pub(crate) fn up(&self) -> (bool, u64) {
        (self.short == 0 || self.short.is_power_of_two(), self.short)
    }

    /// Counts the end of a connection that lasted so long.
    pub(crate) fn ended(&mut self, lasted: Duration) {
        self.short = if lasted < STEADY { self.short.saturating_add(1) } else { 0 };
    }
}

/// Runs a connection, and says that it is up once it has lasted.
pub(crate) async fn say_once_steady<T>(connection: impl Future<Output = T>, say: impl FnOnce()) -> T {
    let mut connection = pin!(connection);
    if let Ok(ended) = timeout(STEADY, connection.as_mut()).await {
        return ended;
    }
    say();
    connection.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_do_not_last_are_told_of_less_and_less() {
        let mut flaps = Flaps::default();
        let mut told = 0;
        for _ in 0..1_000 {
            told += u64::from(flaps.up().0);
            flaps.ended(Duration::from_millis(300));
        }
        assert_eq!(told, 11, "the first one, and those after 1, 2, 4 .. 512 short ones");
        flaps.ended(STEADY);
        assert_eq!(flaps.up(), (true, 0), "one that lasted ends the row");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_lasts_is_told_of_and_a_short_one_is_not() {
        for (lasts, told) in [(STEADY / 2, false), (STEADY * 2, true)] {
            let mut said = false;
            let connection = timeout(lasts, std::future::pending::<()>());
            assert!(say_once_steady(connection, || said = true).await.is_err());
            assert_eq!(said, told, "{lasts:?}");
        }
    }
}
