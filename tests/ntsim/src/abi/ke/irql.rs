//! IRQL, critical and guarded regions.

use crate::abi::routine::routines;
use crate::abi::types_base::*;

routines! {
    /// Returns the current IRQL. Any IRQL.
    fn KeGetCurrentIrql() -> KIRQL, max 15 => |k| {
        k.irql()
    }
}
