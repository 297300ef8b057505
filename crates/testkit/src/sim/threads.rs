//! The threads on which the machines of a simulated node run, so that a machine takes simulated time while everything else of
//! its node goes on.
//!
//! A machine is ordinary code that returns when it is done. So a job runs on a thread of the system, but only one of all
//! threads of a simulation runs at a time: the simulation's waits until the job has ended or says how long the machine
//! takes now ([`spend`]), lets that time pass, and has the job go on. The order is the same in every run. A job of a machine
//! that takes no time runs at once where it is ordered. A crash of the node ends its jobs inside their machines.
//!
//! Bound: `apply_threads` of the configuration, as on a real node.

use std::cell::RefCell;
use std::panic::resume_unwind;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use quorate::{MachineJob, MachineThreads};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tracing::Dispatch;

use super::faults::{MachineFaults, Machines};
use crate::lock::lock;

/// What the simulation's thread tells that of a job.
enum Order {
    Begin(Box<Job>),
    GoOn,
    /// The node has crashed.
    Abandon,
}

struct Job {
    run: MachineJob,
    faults: MachineFaults,
    dispatch: Dispatch,
    runtime: Handle,
}

/// What it answers.
enum Said {
    Spends(Duration),
    Ended,
}

/// A thread of the system that waits for an order.
struct Thread {
    orders: Sender<Order>,
    said: Receiver<Said>,
}

/// The threads of one simulation that have nothing to do.
#[derive(Clone, Default)]
pub(super) struct Idle(Arc<Mutex<Vec<Thread>>>);

/// The thread of a job, seen from inside.
struct Inside {
    orders: Receiver<Order>,
    said: Sender<Said>,
    abandoned: bool,
}

thread_local! {
    static INSIDE: RefCell<Option<Inside>> = const { RefCell::new(None) };
    static FAULTS: RefCell<Option<MachineFaults>> = const { RefCell::new(None) };
}

/// The machine that runs on this thread takes this long.
pub(super) fn spend(span: Duration) {
    let abandoned = INSIDE.with_borrow_mut(|inside| {
        let Some(inside) = inside else { return false };
        if !inside.abandoned {
            let _ = inside.said.send(Said::Spends(span));
            inside.abandoned = !matches!(inside.orders.recv(), Ok(Order::GoOn));
        }
        inside.abandoned
    });
    if abandoned {
        // No panic: nothing is wrong, and nothing is printed.
        resume_unwind(Box::new("the node has crashed"));
    }
}

/// What is wrong with the machine that runs on this thread, if one runs.
pub(super) fn faults_here() -> Option<MachineFaults> {
    FAULTS.with_borrow(Clone::clone)
}

fn run_with(faults: MachineFaults, job: MachineJob) {
    FAULTS.set(Some(faults));
    // It catches what the machine throws.
    job();
    FAULTS.set(None);
}

impl Thread {
    fn start(name: String) -> Self {
        let (orders, inbox) = channel();
        let (answers, said) = channel();
        let body = move || {
            INSIDE.set(Some(Inside { orders: inbox, said: answers, abandoned: false }));
            while let Some(Ok(Order::Begin(job))) =
                INSIDE.with_borrow(|inside| inside.as_ref().map(|inside| inside.orders.recv()))
            {
                let Job { run, faults, dispatch, runtime } = *job;
                {
                    let _clock = runtime.enter();
                    tracing::dispatcher::with_default(&dispatch, || run_with(faults, run));
                }
                INSIDE.with_borrow_mut(|inside| {
                    let inside = inside.as_mut().expect("it was set");
                    inside.abandoned = false;
                    let _ = inside.said.send(Said::Ended);
                });
            }
        };
        std::thread::Builder::new().name(name).spawn(body).expect("the system gives a thread");
        Self { orders, said }
    }

    fn order(&self, order: Order) -> Said {
        self.orders.send(order).expect("it waits for it");
        self.said.recv().expect("it answers every order")
    }
}

/// A job under way. Dropped with its node, it ends inside its machine.
struct Underway {
    thread: Option<Thread>,
    idle: Idle,
}

impl Underway {
    fn order(&mut self, order: Order) -> Option<Duration> {
        match self.thread.as_ref()?.order(order) {
            Said::Spends(span) => Some(span),
            Said::Ended => {
                lock(&self.idle.0).extend(self.thread.take());
                None
            }
        }
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        while self.thread.is_some() {
            self.order(Order::Abandon);
        }
    }
}

/// The threads of one node between two crashes.
pub(super) struct SimThreads {
    node: String,
    machines: Machines,
    places: Arc<Semaphore>,
    idle: Idle,
}

impl SimThreads {
    pub(super) fn new(node: &str, machines: Machines, threads: usize, idle: Idle) -> Self {
        Self { node: node.to_owned(), machines, places: Arc::new(Semaphore::new(threads)), idle }
    }
}

impl MachineThreads for SimThreads {
    #[expect(clippy::disallowed_methods, reason = "a thread of the node, simulated by a task")]
    fn run(&self, group: &str, job: MachineJob) {
        let faults = self.machines.of_group(group);
        if !faults.takes_time() && self.places.available_permits() > 0 {
            return run_with(faults, job);
        }
        let (places, idle, name) = (self.places.clone(), self.idle.clone(), format!("{}/apply", self.node));
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        tokio::spawn(async move {
            let Ok(_place) = places.acquire().await else { return };
            let free = lock(&idle.0).pop();
            let thread = free.unwrap_or_else(|| Thread::start(name));
            let mut underway = Underway { thread: Some(thread), idle };
            let begin = Job { run: job, faults, dispatch, runtime: Handle::current() };
            let mut spends = underway.order(Order::Begin(Box::new(begin)));
            while let Some(span) = spends {
                tokio::time::sleep(span).await;
                spends = underway.order(Order::GoOn);
            }
        });
    }
}
