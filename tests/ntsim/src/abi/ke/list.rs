//! Interlocked lists.

use super::spin::with_lock;
use crate::abi::routine::routines;
use crate::abi::*;
use crate::core::{Kernel, Rule};

fn links(entry: PLIST_ENTRY) -> LIST_ENTRY {
    // SAFETY: the documented contract: entries and head are valid while they are linked, and the lock is held.
    unsafe { entry.read() }
}

fn set_links(entry: PLIST_ENTRY, next: PLIST_ENTRY, previous: PLIST_ENTRY) {
    // SAFETY: as for `links`.
    unsafe { entry.write(LIST_ENTRY { Flink: next, Blink: previous }) };
}

/// Puts `entry` between two neighbours; gives the first entry that was there, or null.
fn insert(kernel: &Kernel, head: PLIST_ENTRY, entry: PLIST_ENTRY, at_head: bool) -> PLIST_ENTRY {
    let LIST_ENTRY { Flink: first, Blink: last } = links(head);
    if first.is_null() || last.is_null() {
        kernel.finding(Rule::Uninitialized, "a list was used before it was initialised");
    }
    let (previous, next) = if at_head { (head, first) } else { (last, head) };
    set_links(entry, next, previous);
    let before = links(previous);
    set_links(previous, entry, before.Blink);
    let after = links(next);
    set_links(next, after.Flink, entry);
    let neighbour = if at_head { first } else { last };
    if neighbour == head { std::ptr::null_mut() } else { neighbour }
}

fn remove_head(head: PLIST_ENTRY) -> PLIST_ENTRY {
    let first = links(head).Flink;
    if first == head {
        return std::ptr::null_mut();
    }
    let next = links(first).Flink;
    let after = links(next);
    set_links(next, after.Flink, head);
    let own = links(head);
    set_links(head, next, own.Blink);
    first
}

routines! {
    /// Inserts at the head under the lock; returns the entry that was first, or NULL. Any IRQL; DISPATCH_LEVEL at most
    /// here.
    fn ExInterlockedInsertHeadList(ListHead: PLIST_ENTRY, ListEntry: PLIST_ENTRY, Lock: PKSPIN_LOCK) -> PLIST_ENTRY, max 2 => |k| {
        with_lock(k, Lock, || insert(k, ListHead, ListEntry, true))
    }

    /// Inserts at the tail under the lock; returns the entry that was last, or NULL.
    fn ExInterlockedInsertTailList(ListHead: PLIST_ENTRY, ListEntry: PLIST_ENTRY, Lock: PKSPIN_LOCK) -> PLIST_ENTRY, max 2 => |k| {
        with_lock(k, Lock, || insert(k, ListHead, ListEntry, false))
    }

    /// Removes the first entry under the lock; NULL when the list is empty.
    fn ExInterlockedRemoveHeadList(ListHead: PLIST_ENTRY, Lock: PKSPIN_LOCK) -> PLIST_ENTRY, max 2 => |k| {
        with_lock(k, Lock, || remove_head(ListHead))
    }
}
