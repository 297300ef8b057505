//! How Group starts and restarts the snapshotter, and what it passes on for it.

use quorate_core::{Membership, SnapshotBase};
use ractor::ActorRef;

use crate::error::SnapshotFailed;
use crate::group::state::{Child, GroupState, JOIN_MAX};
use crate::messages::group::{Captured, GroupMessage};
use crate::messages::snapshotter::{Capture, SnapshotterMessage, SnapshotterRef, TakenPort};
use crate::snapshotter::actor::start as start_snapshotter;

impl GroupState {
    pub(super) async fn begin_snapshotter(&mut self, me: &ActorRef<GroupMessage>) {
        let cx = &self.start.cx;
        let name = format!(
            "{}/group/{}/snapshotter/{}.{}",
            cx.name_prefix, cx.name, self.epoch, self.snapshotter_number
        );
        match start_snapshotter(name, cx.clone(), me.get_cell()).await {
            Ok((actor, join)) => {
                self.snapshotter = Some(Child { cell: actor.get_cell(), actor, join });
                self.publish(me);
            }
            Err(error) => {
                tracing::error!(node = %cx.node, group = %cx.name, %error, "snapshotter did not start");
                self.restart_snapshotter_later(me);
            }
        }
    }

    pub(super) async fn snapshotter_lost(
        &mut self,
        me: &ActorRef<GroupMessage>,
        snapshotter: Child<SnapshotterRef>,
        reason: &str,
    ) {
        let _ = tokio::time::timeout(JOIN_MAX, snapshotter.join).await;
        let (node, group) = (&self.start.cx.node, &self.start.cx.name);
        tracing::warn!(%node, %group, reason, "restarting snapshotter");
        self.restart_snapshotter_later(me);
    }

    fn restart_snapshotter_later(&mut self, me: &ActorRef<GroupMessage>) {
        self.snapshotter_number += 1;
        self.publish(me);
        let pause = self.snapshotter_restarts.pause(self.start.cx.clock.now());
        let number = self.snapshotter_number;
        drop(me.send_after(pause, move || GroupMessage::RestartSnapshotter(number)));
    }

    pub(super) fn tell_snapshotter(&self, message: SnapshotterMessage) {
        if let Some(snapshotter) = &self.snapshotter {
            let _ = snapshotter.actor.cast(message);
        }
    }

    /// Adds the founding membership where no entry has changed it. A machine has applied something only once the log was loaded.
    pub(super) fn captured(&self, captured: Result<Captured, String>) {
        let founding = self.founding.as_ref();
        let with_members = |captured: Captured| {
            let Captured { at, time_ms, membership, state } = captured;
            let membership: Option<Membership> = membership.or_else(|| founding.cloned());
            let membership = membership.ok_or("the log is being loaded")?;
            Ok(Capture { base: SnapshotBase { at, time_ms, membership }, state })
        };
        let capture = captured.and_then(with_members);
        if self.snapshotter.is_none() {
            // The next one finds it free.
            return;
        }
        self.tell_snapshotter(SnapshotterMessage::Captured(capture));
    }

    pub(super) fn take_snapshot(&self, port: TakenPort) {
        if self.snapshotter.is_some() {
            self.tell_snapshotter(SnapshotterMessage::Take(port));
        } else {
            drop(port.send(Err(SnapshotFailed::of("the snapshotter is being restarted"))));
        }
    }

    /// The machine is made of the newest snapshot: as after its end, but at once and without a fault.
    pub(super) async fn restore_machine(&mut self, me: &ActorRef<GroupMessage>) {
        if self.fault_here.is_some() {
            return;
        }
        if let Some(applier) = self.applier.take() {
            self.applier_ready = false;
            self.start.cx.replay.applied(self.gauge.applied());
            applier.cell.kill();
            let _ = tokio::time::timeout(JOIN_MAX, applier.join).await;
            // After its end and without a way to it: another capture would be asked of a machine that is gone, and never end.
            self.publish(me);
            self.captured(Err("the state machine is made again".to_owned()));
        }
        self.applier_number += 1;
        self.begin_applier(me).await;
    }
}
