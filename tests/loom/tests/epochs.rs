//! Models of the rundown by epochs.
//!
//! A device passes requests through until its mode is changed. A write that is passed through is on its way from the
//! moment it looked at the mode until it exits. Whoever changed the mode and waited may rely on there being none.
use std::sync::Arc;

use loom::sync::Notify;
use loom::thread;
use vck_loom_models::{Modelled, Plain, model};
use vck_windrv::sync::{EpochTicket, Epochs, OldEpoch, Wake};

const PASS: u64 = 0;
const BOUND: u64 = 1;

struct Device {
    epochs: Epochs<Modelled, 1>,
    mode: Plain,
    /// For each mode, whether the request of the model works under it at the moment.
    at_work: [Plain; 2],
    event: Notify,
}

impl Device {
    fn new() -> Arc<Self> {
        let at_work = [Plain::new(0), Plain::new(0)];
        Arc::new(Self { epochs: Epochs::new(), mode: Plain::new(PASS), at_work, event: Notify::new() })
    }

    fn signal(&self, wake: Wake) {
        if wake.is_needed() {
            self.event.notify();
        }
    }

    /// Works in `mode` and leaves.
    fn work_and_exit(&self, ticket: EpochTicket, mode: u64) {
        let at_work = &self.at_work[usize::try_from(mode).unwrap()];
        at_work.set(1);
        at_work.set(0);
        // The ticket travels through a completion routine as a number.
        let ticket = EpochTicket::from_raw(ticket.into_raw());
        self.signal(self.epochs.exit(ticket));
    }

    fn request(&self, cpu: usize) {
        let ticket = self.epochs.enter(cpu);
        self.work_and_exit(ticket, self.mode.get());
    }

    fn wait_for(&self, old: OldEpoch) {
        while !self.epochs.is_drained(old) {
            self.event.wait();
        }
    }

    /// Changes the mode and waits for the requests that may have seen the old one.
    fn change_to(&self, mode: u64) {
        self.mode.set(mode);
        self.wait_for(self.epochs.advance().expect("the last epoch was waited for"));
    }

    fn assert_nobody_works_in(&self, mode: u64) {
        let at_work = self.at_work[usize::try_from(mode).unwrap()].get();
        assert_eq!(at_work, 0, "a request outlives the mode it saw");
    }
}

fn with_request(request: fn(&Device), change: fn(&Device)) {
    model(2, move || {
        let device = Device::new();
        let other = Arc::clone(&device);
        let thread = thread::spawn(move || request(&other));
        change(&device);
        thread.join().unwrap();
    });
}

fn bind(device: &Device) {
    device.change_to(BOUND);
    device.assert_nobody_works_in(PASS);
}

#[test]
fn a_passed_through_write_never_outlives_the_wait() {
    with_request(|device| device.request(0), bind);
}

#[test]
fn a_request_against_two_changes() {
    with_request(
        |device| device.request(0),
        |device| {
            bind(device);
            device.change_to(PASS);
            device.assert_nobody_works_in(BOUND);
        },
    );
}

#[test]
fn two_requests_of_one_thread() {
    with_request(
        |device| {
            device.request(0);
            device.request(1);
        },
        bind,
    );
}

/// Two requests at once, on the same stripe and on different ones.
#[test]
fn two_requests_at_once() {
    for cpu in [0, 1] {
        model(3, move || {
            let device = Device::new();
            let threads: Vec<_> = [0, cpu]
                .into_iter()
                .map(|cpu| {
                    let device = Arc::clone(&device);
                    thread::spawn(move || {
                        let ticket = device.epochs.enter(cpu);
                        device.signal(device.epochs.exit(ticket));
                    })
                })
                .collect();
            let old = device.epochs.advance().expect("nothing ran before");
            device.wait_for(old);
            for thread in threads {
                thread.join().unwrap();
            }
            // Whoever came too late for the old epoch is gone from the new one too.
            let last = device.epochs.advance().expect("the old epoch was waited for");
            assert!(device.epochs.is_drained(last));
        });
    }
}

#[test]
#[should_panic(expected = "a request outlives the mode it saw")]
fn a_mode_read_before_entering_is_caught() {
    with_request(
        |device| {
            let too_early = device.mode.get();
            let ticket = device.epochs.enter(0);
            device.work_and_exit(ticket, too_early);
        },
        bind,
    );
}

#[test]
#[should_panic(expected = "a request outlives the mode it saw")]
fn a_change_after_the_advance_is_caught() {
    with_request(
        |device| device.request(0),
        |device| {
            let old = device.epochs.advance().expect("nothing ran before");
            device.mode.set(BOUND);
            device.wait_for(old);
            device.assert_nobody_works_in(PASS);
        },
    );
}

#[test]
#[should_panic(expected = "a request outlives the mode it saw")]
fn not_waiting_is_caught() {
    with_request(
        |device| device.request(0),
        |device| {
            device.mode.set(BOUND);
            let _not_waited_for = device.epochs.advance().expect("nothing ran before");
            device.assert_nobody_works_in(PASS);
        },
    );
}

#[test]
#[should_panic(expected = "deadlock")]
fn an_exit_that_signals_nobody_is_caught() {
    with_request(
        |device| {
            let ticket = device.epochs.enter(0);
            let _not_signalled = device.epochs.exit(ticket);
        },
        bind,
    );
}
