//! So many requests and nothing else, for a tool that counts instructions.

use crate::cost::{fill, machine};
use crate::raw::{Load, Pattern, run};
use crate::stack::Stack;

const DATA: u64 = 8 << 20;

/// Sends `count` requests of 4 KiB, one at a time, through `stack`; none of them may fail.
pub(crate) fn requests(stack: Stack, write: bool, count: u64) {
    let machine = machine(stack, DATA);
    fill(&machine, DATA);
    let load = Load { write, block: 4096, depth: 1, count, from: 0, span: DATA, pattern: Pattern::Random(3) };
    assert_eq!(run(&machine.world, &machine.path(), load).failed, 0);
}
