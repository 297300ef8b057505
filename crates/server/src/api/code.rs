//! Every way an answer can be an error: one closed table, with which `docs/reference/errors.md` is compared.

use axum::http::StatusCode;
use quorate::Outcome;

/// The row of a code in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// `code`.
    pub name: &'static str,
    /// `status`.
    pub status: StatusCode,
    /// `outcome`.
    pub outcome: Outcome,
    /// `title`.
    pub title: &'static str,
    /// What the caller can do.
    pub remedy: &'static str,
}

/// One row for each code: variant, name, status and outcome, then its title, then the remedy.
macro_rules! codes {
    ($($code:ident $name:literal $status:ident $outcome:ident $title:literal $remedy:literal;)+) => {
        /// What went wrong, in one word that clients may depend on: `code` of a problem.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Code { $(#[doc = $title] $code,)+ }

        impl Code {
            /// All of them, in order of their status.
            pub const ALL: [Self; [$($name),+].len()] = [$(Self::$code),+];

            /// Name, status, outcome, title, remedy.
            pub fn about(self) -> About {
                let (name, status, outcome, title, remedy) = match self {
                    $(Self::$code => ($name, StatusCode::$status, Outcome::$outcome, $title, $remedy),)+
                };
                About { name, status, outcome, title, remedy }
            }
        }
    };
}

codes! {
    BadRequest "bad_request" BAD_REQUEST Refused
        "the request is no valid HTTP/1.1" "use an HTTP client, or send what `detail` asks for";
    Malformed "malformed" BAD_REQUEST Refused
        "the body is not what this call wants" "send what `detail` asks for";
    BadParameter "bad_parameter" BAD_REQUEST Refused
        "a parameter or header is unknown or not understood" "send what `detail` asks for";
    BadKey "bad_key" BAD_REQUEST Refused "the key is empty" "name a key";
    BadMember "bad_member" BAD_REQUEST Refused
        "a member's id or address is not one" "`detail` says which; an address is `host:port`";
    ForeignOrigin "foreign_origin" FORBIDDEN Refused
        "a web page of another origin may not change anything"
        "send it without a browser, or start the node with the page's host in `--allowed-hosts`";
    ActionsOff "actions_off" FORBIDDEN Refused
        "this node lets no one stop its actors" "start the node with `--ui-actions`";
    NotLocal "not_local" FORBIDDEN Refused
        "a node is drained from its own machine only"
        "run `quorate drain` there, send its process SIGTERM, or start the node with `--ui-actions`";
    NotFound "not_found" NOT_FOUND Failed "the key has no value" "nothing; the key is absent";
    NoSnapshot "no_snapshot" NOT_FOUND Failed
        "this node has no snapshot yet" "have one taken with `POST /v1/snapshots`";
    NoSuchPath "no_such_path" NOT_FOUND Refused "nothing answers at this path" "see `/openapi.json`";
    NoSuchGroup "no_such_group" NOT_FOUND Refused
        "the node that leads has not opened the group" "wait until it has started";
    NoSuchMember "no_such_member" NOT_FOUND Refused
        "no member of this id, or no voter where one is needed" "see `GET /v1/members`";
    NoSuchActor "no_such_actor" NOT_FOUND Refused "no actor of this name on this node" "see `GET /v1/actors`";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED Refused
        "the path does not answer to this method" "see the header `Allow`";
    RequestTimeout "request_timeout" REQUEST_TIMEOUT Refused
        "the body did not arrive in time" "send it again, faster";
    Superseded "superseded" CONFLICT Failed
        "another entry took the command's place" "send it again: it did not happen";
    Overflow "overflow" CONFLICT Failed "the counter would leave the range of 64 bits" "add less";
    IdempotencyMismatch "idempotency_mismatch" CONFLICT Failed
        "another command was applied under this `Idempotency-Key`; this one will never be"
        "give every command a key of its own";
    TransferRefused "transfer_refused" CONFLICT Refused
        "leadership is not handed to that node now" "`detail` says why; name another node, or try again later";
    MembersOutdated "members_outdated" CONFLICT Refused
        "the membership in force is not the one that `expect` names"
        "look at `GET /v1/members`, then decide; the index of the one in force is in `index`";
    ChangeInProgress "change_in_progress" CONFLICT Refused
        "another change of the members is under way" "send it again once that has ended";
    NothingToChange "nothing_to_change" CONFLICT Refused
        "the member is already what this call would make it" "nothing";
    MemberExists "member_exists" CONFLICT Refused
        "a member has this id already"
        "choose another id; `:readdress` gives it other addresses, and `:replace` takes in another disk under its id";
    AddressTaken "address_taken" CONFLICT Refused
        "another member has this address" "give each member addresses of its own";
    LastVoter "last_voter" CONFLICT Refused
        "the cluster would be left without a voter" "promote another member first";
    NoQuorum "no_quorum" CONFLICT Refused
        "of the voters that there would be, too few are connected to commit anything"
        "bring back as many as `detail` says are missing, or remove those that are gone first";
    NotCaughtUp "not_caught_up" CONFLICT Refused
        "the learner lacks too much, recovers, or is not connected" "send it again once it has caught up";
    NoJoiner "no_joiner" CONFLICT Refused
        "no process waits that could take the member's place"
        "start one under its id with an empty data directory and `--join`, then send it again";
    OldBuild "old_build" CONFLICT Refused
        "a member's build does not take part in changes of the members" "upgrade the members that `detail` names";
    PreconditionFailed "precondition_failed" PRECONDITION_FAILED Failed
        "the condition does not hold" "read the key again, then decide";
    TooLarge "too_large" PAYLOAD_TOO_LARGE Refused "larger than allowed" "split it; `detail` says the limit";
    UriTooLong "uri_too_long" URI_TOO_LONG Refused "the path with its query is too long" "send a shorter one";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE Refused
        "the body is not declared as JSON" "send `Content-Type: application/json`";
    UnsupportedEncoding "unsupported_encoding" UNSUPPORTED_MEDIA_TYPE Refused
        "the body is compressed or encoded otherwise" "send it as it is, without `Content-Encoding`";
    UnknownHost "unknown_host" MISDIRECTED_REQUEST Refused
        "the node is not known by the name in `Host`"
        "call it by its address, or start it with that name in `--allowed-hosts`";
    NotReadByLeader "not_read_by_leader" UNPROCESSABLE_ENTITY Refused
        "the leader's build cannot read the command" "bring all nodes to the same version";
    Unreadable "unreadable" UNPROCESSABLE_ENTITY Failed
        "the state machine could not read the command" "bring all nodes to the same version";
    Busy "busy" TOO_MANY_REQUESTS Refused
        "too many requests are under way on this node" "wait for `retry_after_ms`, then send it again";
    HeadersTooLarge "headers_too_large" REQUEST_HEADER_FIELDS_TOO_LARGE Refused
        "there are too many headers, or they are too long" "send fewer";
    MachinePanicked "machine_panicked" INTERNAL_SERVER_ERROR Failed
        "the state machine panicked on the query" "report it; nothing changed";
    SnapshotFailed "snapshot_failed" INTERNAL_SERVER_ERROR Failed
        "the node took no snapshot, or cannot read it" "`detail` says why; mend that, or ask another node";
    Internal "internal" INTERNAL_SERVER_ERROR Unknown
        "the server did not expect its own machine's reply" "report it; a write may have happened";
    NoLeader "no_leader" SERVICE_UNAVAILABLE Refused
        "no leader was found in time"
        "mend what the detail names, then send it again; of a read it also says whether this node answers it with `consistency=stale`";
    LeaderUnreachable "leader_unreachable" SERVICE_UNAVAILABLE Refused
        "the leader is known and cannot be reached from this node, or its API address is not known here"
        "send it to another node, or to the leader itself; leave out `redirect`";
    NotReady "not_ready" SERVICE_UNAVAILABLE Refused
        "the replica cannot answer now" "send it again, or to another node";
    NoSpace "no_space" SERVICE_UNAVAILABLE Refused
        "the leader's disk is below its reserve, or those of so many other voters that no majority can take entries" "free or add space, as the detail says; reads go on meanwhile";
    Faulted "faulted" SERVICE_UNAVAILABLE Refused
        "the state machine panics on an entry of the log" "bring a fixed build to all nodes";
    Stopped "stopped" SERVICE_UNAVAILABLE Refused
        "the node is stopping or has stopped" "send it to another node";
    Unknown "unknown" GATEWAY_TIMEOUT Unknown
        "it may have happened or may yet happen"
        "read, then decide; sending it again is safe only with the same `Idempotency-Key`";
    StaleSequence "stale_sequence" GATEWAY_TIMEOUT Unknown
        "the client went on to a later sequence; this one will not be applied" "read, then decide";
    ReplyNotKept "reply_not_kept" GATEWAY_TIMEOUT Unknown
        "applied before; its reply is not kept: too long, or too many came after it" "read what it left";
    SessionExpired "session_expired" GATEWAY_TIMEOUT Unknown
        "the client was forgotten; this command will not be applied, but may have been before"
        "read, then go on under a new client name";
    TransferUnfinished "transfer_unfinished" GATEWAY_TIMEOUT Unknown
        "leadership did not move in time" "look at `GET /v1/cluster`, then try again";
    ChangeUnfinished "change_unfinished" GATEWAY_TIMEOUT Unknown
        "the change of the members had not ended in time; it may have, or may yet"
        "look at `GET /v1/members` before you ask again";
    SnapshotUnfinished "snapshot_unfinished" GATEWAY_TIMEOUT Unknown
        "the snapshot was not on disk in time; it may be later" "look at `snapshot_index` in `GET /v1/status`, or ask again with more time";
}

impl Code {
    /// The table of `docs/reference/errors.md`.
    pub fn table() -> String {
        let row = |code: Self| {
            let About { name, status, outcome, title, remedy } = code.about();
            let outcome = format!("{outcome:?}").to_lowercase();
            format!("| `{name}` | {} | {outcome} | {title} | {remedy} |\n", status.as_u16())
        };
        let rows: String = Self::ALL.into_iter().map(row).collect();
        format!("| code | status | outcome | meaning | what to do |\n|---|---|---|---|---|\n{rows}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_all_different_and_in_order() {
        let names: BTreeSet<_> = Code::ALL.iter().map(|code| code.about().name).collect();
        assert_eq!(names.len(), Code::ALL.len());
        assert!(Code::ALL.is_sorted_by_key(|code| code.about().status));
    }

    #[test]
    fn rule_13_504_is_unknown_and_nothing_unknown_has_another_4xx() {
        for code in Code::ALL {
            let About { status, outcome, name, .. } = code.about();
            assert!(status != StatusCode::GATEWAY_TIMEOUT || outcome == Outcome::Unknown, "{name}");
            assert!(outcome != Outcome::Unknown || status.is_server_error(), "{name}");
        }
    }

    #[test]
    fn the_page_of_errors_is_the_table() {
        crate::api::openapi::same_as_file("errors.md", |text| text.contains(&Code::table()), &Code::table());
    }
}
