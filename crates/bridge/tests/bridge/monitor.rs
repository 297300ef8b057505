//! Monitors report the end of a remote actor and of its node, and their return.

use crate::common::*;
use quorate_bridge::*;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Events = Arc<Mutex<Vec<MonitorChange>>>;

fn watch(handle: &BridgeHandle, node: &str) -> (Events, MonitorId) {
    let events = Events::default();
    let told = events.clone();
    let id = handle
        .monitor(node, "echo", move |event| {
            assert_eq!(event.name, "echo");
            told.lock().unwrap().push(event.change);
        })
        .unwrap();
    (events, id)
}

async fn count(events: &Events, count: usize) -> Vec<MonitorChange> {
    until("the monitor was told", || events.lock().unwrap().len() >= count).await;
    let events = events.lock().unwrap().clone();
    assert_eq!(events.len(), count, "{events:?}");
    events
}

fn is_up(change: &MonitorChange) -> bool {
    matches!(change, MonitorChange::Up { incarnation: 1, boot: 1 })
}

struct Parrot;

struct Batch(Vec<Inbound<Echo>>);

impl From<Vec<Inbound<Echo>>> for Batch {
    fn from(batch: Vec<Inbound<Echo>>) -> Self {
        Self(batch)
    }
}

impl Actor for Parrot {
    type Msg = Batch;
    type State = ();
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Batch>, (): ()) -> Result<(), ActorProcessingErr> {
        Ok(())
    }

    async fn handle(
        &self,
        _: ActorRef<Batch>,
        Batch(batch): Batch,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        for Inbound { message, reply, .. } in batch {
            assert_ne!(message, Say::Crash, "asked to");
            if let Some(reply) = reply {
                let _ = reply.send(&message);
            }
        }
        Ok(())
    }
}

async fn parrot(handle: &BridgeHandle) -> ActorRef<Batch> {
    let (actor, _) = Actor::spawn(None, Parrot, ()).await.unwrap();
    handle.expose("echo", Exposed::actor::<Echo, Batch>(actor.clone())).unwrap();
    actor
}

#[tokio::test]
async fn an_actor_that_crashes_is_down_and_its_successor_up() {
    let (a, b) = pair().await;
    let (events, _) = watch(&a, "b");
    assert_eq!(count(&events, 1).await[0], MonitorChange::Down { reason: DownReason::NotExposed });
    parrot(&b).await;
    assert!(is_up(&count(&events, 2).await[1]));
    let remote = echo_ref(&a, "b");
    assert_eq!(call(&remote, Say::Number(3)).await.unwrap(), Say::Number(3));

    let error = call(&remote, Say::Crash).await.unwrap_err();
    assert!(matches!(error, CallError::Died { .. }), "{error}");
    let down = count(&events, 3).await[2].clone();
    assert!(
        matches!(&down, MonitorChange::Down { reason: DownReason::Died(how) } if how.contains("asked to")),
        "{down:?}"
    );
    let error = call(&remote, Say::Number(4)).await.unwrap_err();
    assert!(matches!(error, CallError::NoSuchActor { .. }), "{error}");

    parrot(&b).await;
    assert!(is_up(&count(&events, 4).await[3]));
    assert_eq!(call(&remote, Say::Number(5)).await.unwrap(), Say::Number(5));

    assert!(b.withdraw("echo") && !b.withdraw("echo"));
    assert_eq!(count(&events, 5).await[4], MonitorChange::Down { reason: DownReason::Withdrawn });
}

#[tokio::test]
async fn an_actor_dead_before_it_was_exposed_is_noticed() {
    let (a, b) = pair().await;
    let (actor, join) = Actor::spawn(None, Parrot, ()).await.unwrap();
    actor.stop(None);
    join.await.unwrap();
    b.expose("echo", Exposed::actor::<Echo, Batch>(actor)).unwrap();
    let remote = echo_ref(&a, "b");
    let noticed = async {
        let mut died = false;
        while !died {
            let error = call(&remote, Say::Number(1)).await.unwrap_err();
            died = matches!(error, CallError::NoSuchActor { .. });
            assert!(died || matches!(error, CallError::Died { .. }), "{error}");
        }
    };
    tokio::time::timeout(Duration::from_secs(10), noticed).await.expect("it is noticed");
}

#[tokio::test]
async fn a_lost_node_is_down_and_up_again_when_it_returns() {
    let a = start(options("a")).await;
    let (events, _) = watch(&a, "b");
    let first = count(&events, 1).await[0].clone();
    assert!(matches!(first, MonitorChange::Down { reason: DownReason::NodeLost(_) }), "{first:?}");

    let b = start(options("b")).await;
    parrot(&b).await;
    let at = address(&b);
    a.add_peer(PeerAddress::new("b", &at)).unwrap();
    assert!(is_up(&count(&events, 2).await[1]));
    b.stop().await;
    let lost = count(&events, 3).await[2].clone();
    assert!(matches!(lost, MonitorChange::Down { reason: DownReason::NodeLost(_) }), "{lost:?}");

    // The next start of the node: the same address, not yet exposed, then exposed.
    let mut again = options("b");
    (again.listen, again.identity.boot) = (Some(at), 2);
    let b = start(again).await;
    up(&a, "b").await;
    parrot(&b).await;
    assert_eq!(count(&events, 4).await[3], MonitorChange::Up { incarnation: 1, boot: 2 });
    assert_eq!(
        call(&echo_ref(&a, "b"), Say::Number(1)).await.unwrap(),
        Say::Number(1),
        "the old kind of ref"
    );
}

#[tokio::test]
async fn monitors_of_one_name_are_independent_and_can_be_ended() {
    let (a, b) = pair().await;
    let actor = parrot(&b).await;
    let (first, first_id) = watch(&a, "b");
    count(&first, 1).await;
    let (second, _) = watch(&a, "b");
    assert!(is_up(&count(&second, 1).await[0]));
    a.demonitor(&first_id);
    actor.stop(None);
    assert!(!is_up(&count(&second, 2).await[1]));
    count(&first, 1).await;
}

#[tokio::test]
async fn a_subscriber_may_call_back_and_may_panic() {
    let (a, b) = pair().await;
    let (inner, seen) = (a.clone(), Events::default());
    let told = seen.clone();
    a.monitor("b", "echo", move |event| {
        let told = told.clone();
        let id = inner.monitor("b", "echo", move |event| told.lock().unwrap().push(event.change)).unwrap();
        assert!(matches!(event.change, MonitorChange::Down { .. }), "panics at the Up");
        inner.demonitor(&id);
    })
    .unwrap();
    let (events, _) = watch(&a, "b");
    count(&events, 1).await;
    parrot(&b).await;
    assert!(is_up(&count(&events, 2).await[1]), "told in spite of the other's panic");
    assert_eq!(a.link("b").unwrap().reconnects, 0);
}
