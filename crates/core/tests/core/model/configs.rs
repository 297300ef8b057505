//! The configurations: each covers what the others do not.

use super::config::{Budget, Config, Search, Start, Writes};

const SMALL: Config = Config {
    name: "",
    voters: 3,
    start: Start::Fresh,
    terms_max: 3,
    budget: Budget::NONE,
    writes: Writes::AtOnce,
    silent_damage: false,
    link_max: 2,
    append_entries_max: 8,
    search: Search::Breadth,
    threads: 2,
    states_max: 0,
};

/// All of them, each limited to `states_max` expanded states.
pub(crate) fn all(search: Search, states_max: u64) -> Vec<Config> {
    let all = [
        // Three terms of elections: votes, winners, and when each node hears of them.
        Config { name: "elections", budget: Budget { timeouts: 4, duplicates: 1, ..Budget::NONE }, ..SMALL },
        // Crashes at every moment between a promise and its write.
        Config {
            name: "votes and crashes",
            budget: Budget { timeouts: 2, crashes: 2, ..Budget::NONE },
            writes: Writes::Later,
            ..SMALL
        },
        // Two commands that one leader and the next replicate, and a read.
        Config {
            name: "commands and reads",
            start: Start::Elected,
            budget: Budget {
                timeouts: 3,
                proposals: 2,
                reads: 1,
                heartbeats: 1,
                duplicates: 1,
                crashes: 1,
                ..Budget::NONE
            },
            ..SMALL
        },
        Config {
            name: "commands, slow disks and crashes",
            start: Start::Elected,
            budget: Budget { timeouts: 2, proposals: 2, heartbeats: 2, crashes: 1, ..Budget::NONE },
            writes: Writes::Later,
            ..SMALL
        },
        // A command is committed, and a node that lacks it campaigns.
        Config {
            name: "one is behind",
            start: Start::Behind,
            budget: Budget { timeouts: 3, duplicates: 1, crashes: 1, ..Budget::NONE },
            ..SMALL
        },
        // Two leaders at once: the older one is asked to read, or is elected again with an entry of its old term.
        Config {
            name: "two logs",
            start: Start::Diverged,
            budget: Budget { timeouts: 3, proposals: 1, heartbeats: 1, reads: 1, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
        // The older leader was elected again (Raft paper, figure 8).
        Config {
            name: "an old leader returned",
            start: Start::Returned,
            terms_max: 4,
            budget: Budget { timeouts: 3, proposals: 1, heartbeats: 2, crashes: 1, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
        Config {
            name: "transfers",
            start: Start::Elected,
            budget: Budget { timeouts: 2, transfers: 2, proposals: 1, duplicates: 1, ..Budget::NONE },
            ..SMALL
        },
        // A voter leaves, or the leader itself, and nodes campaign meanwhile.
        Config {
            name: "a removal",
            start: Start::Elected,
            budget: Budget {
                timeouts: 2,
                changes: 1,
                proposals: 1,
                heartbeats: 1,
                crashes: 1,
                ..Budget::NONE
            },
            ..SMALL
        },
        // Two changes, one after the other, by one leader or by two.
        Config {
            name: "two removals",
            start: Start::Elected,
            budget: Budget { timeouts: 2, changes: 2, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
        // A node that lost a committed entry, which no majority has without it, must not count before it has it again.
        Config {
            name: "damage",
            start: Start::Behind,
            budget: Budget { timeouts: 2, heartbeats: 2, damages: 1, ..Budget::NONE },
            ..SMALL
        },
        // One vote less than a majority is half of the voters.
        Config {
            name: "four voters",
            voters: 4,
            budget: Budget { timeouts: 1, duplicates: 1, ..Budget::NONE },
            ..SMALL
        },
    ];
    // Where an old entry commits behind a newer one takes more steps than anything else.
    let longer = |config: &Config| if config.start == Start::Returned { 4 } else { 1 };
    all.into_iter()
        .map(|config| Config { search, states_max: states_max * longer(&config), ..config })
        .collect()
}

/// Configurations so small that every state within their bounds is reached.
pub(crate) fn whole() -> Vec<Config> {
    let whole = [
        Config {
            name: "a campaign",
            terms_max: 1,
            budget: Budget { duplicates: 1, ..Budget::NONE },
            ..SMALL
        },
        Config {
            name: "a campaign and a crash",
            terms_max: 2,
            budget: Budget { crashes: 1, ..Budget::NONE },
            writes: Writes::Later,
            ..SMALL
        },
        Config {
            name: "a command and a read",
            start: Start::Elected,
            terms_max: 1,
            budget: Budget { proposals: 1, reads: 1, ..Budget::NONE },
            ..SMALL
        },
        Config {
            name: "a command, slow disks and duplicates",
            start: Start::Elected,
            terms_max: 1,
            budget: Budget { proposals: 1, duplicates: 2, heartbeats: 1, ..Budget::NONE },
            writes: Writes::Later,
            ..SMALL
        },
        Config {
            name: "two commands, a duplicate and a crash",
            start: Start::Elected,
            terms_max: 1,
            budget: Budget { proposals: 2, duplicates: 1, crashes: 1, ..Budget::NONE },
            link_max: 1,
            ..SMALL
        },
        Config {
            name: "a command and a transfer",
            start: Start::Elected,
            terms_max: 2,
            budget: Budget { transfers: 1, proposals: 1, ..Budget::NONE },
            ..SMALL
        },
        Config {
            name: "a removal by one leader",
            start: Start::Elected,
            terms_max: 2,
            budget: Budget { changes: 1, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
        Config {
            name: "who is behind stands",
            start: Start::Behind,
            terms_max: 2,
            budget: Budget { timeouts: 2, ..Budget::NONE },
            ..SMALL
        },
        Config {
            name: "who is behind meets who lost entries",
            start: Start::Behind,
            terms_max: 2,
            budget: Budget { damages: 1, heartbeats: 1, ..Budget::NONE },
            ..SMALL
        },
        Config {
            name: "two logs, one election",
            start: Start::Diverged,
            terms_max: 3,
            budget: Budget { timeouts: 2, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
        Config {
            name: "figure 8 and a crash",
            start: Start::Returned,
            terms_max: 4,
            budget: Budget { timeouts: 1, crashes: 1, ..Budget::NONE },
            append_entries_max: 1,
            ..SMALL
        },
    ];
    whole.into_iter().map(|config| Config { states_max: 400_000, ..config }).collect()
}

/// A configuration in which an invariant must break: a disk loses what it acknowledged, and no node is told.
pub(crate) fn broken() -> Config {
    Config {
        name: "a disk that forgets",
        start: Start::Elected,
        budget: Budget { timeouts: 2, proposals: 1, damages: 1, ..Budget::NONE },
        silent_damage: true,
        threads: 1,
        states_max: 100_000,
        ..SMALL
    }
}
