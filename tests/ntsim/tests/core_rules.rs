//! The core of the simulator: its schedulers, and planted bugs, two or more for every rule of the verifier.

#[path = "core_rules/driver.rs"]
mod driver;
#[path = "core_rules/irql.rs"]
mod irql;
#[path = "core_rules/locks.rs"]
mod locks;
#[path = "core_rules/mdl.rs"]
mod mdl;
#[path = "core_rules/memory.rs"]
mod memory;
#[path = "core_rules/misc.rs"]
mod misc;
#[path = "core_rules/scheduling.rs"]
mod scheduling;

use vck_ntsim::{Rule, World};

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
