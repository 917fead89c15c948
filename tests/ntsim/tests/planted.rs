//! Planted bugs: every rule of the verifier stops two or more, at least one of them in a driver that was not written for
//! that rule; and the core of the simulator, its schedulers above all.
//!
//! The bugs are in tables. A test goes through each table, `table` checks that no rule is left out and that the list in
//! `README.md` is what the tables say.

#[path = "planted/bounce.rs"]
mod bounce;
#[path = "support/bounce.rs"]
mod bounce_filter;
#[path = "support/bugs.rs"]
mod bugs;
#[path = "planted/driver.rs"]
mod driver;
#[path = "planted/io.rs"]
mod io;
#[path = "planted/irql.rs"]
mod irql;
#[path = "planted/locks.rs"]
mod locks;
#[path = "planted/mdl.rs"]
mod mdl;
#[path = "planted/memory.rs"]
mod memory;
#[path = "planted/misc.rs"]
mod misc;
#[path = "support/passthrough.rs"]
mod pass_filter;
#[path = "planted/scheduling.rs"]
mod scheduling;
#[path = "planted/simd.rs"]
mod simd;
#[path = "planted/table.rs"]
mod table;

use vck_ntsim::{Rule, World};

/// Small pieces of driver code, each written for one rule: a test of each and the table of all.
macro_rules! planted {
    ($($(#[$attribute:meta])* $rule:ident: fn $name:ident($argument:ident) $body:block)+) => {
        $(
            #[test]
            $(#[$attribute])*
            fn $name() {
                let $argument = vck_ntsim::Rule::$rule;
                $body
            }
        )+

        /// The bugs of this file.
        pub(crate) const PLANTED: &[(vck_ntsim::Rule, &str)] = &[$((vck_ntsim::Rule::$rule, stringify!($name))),+];
    };
}
use planted;

/// Runs `body` as driver code; the world must stop with exactly one finding, of this rule.
fn caught(rule: Rule, body: impl FnOnce() + Send + 'static) {
    let world = World::boot(7);
    world.run_driver("planted", body);
    expect(&world, rule);
}

/// The world must have stopped with exactly one finding, of this rule.
fn expect(world: &World, rule: Rule) {
    let findings = world.findings();
    let rules: Vec<Rule> = findings.iter().map(|finding| finding.rule).collect();
    assert_eq!(rules, [rule], "{findings:?}");
}

/// Runs `body` as driver code in which nothing is wrong, and unloads the driver.
fn clean(body: impl FnOnce() + Send + 'static) {
    let world = World::boot(7);
    assert!(world.run_driver("clean", body), "{:?}", world.findings());
    world.kernel().check_unloaded();
    world.assert_clean();
}
