//! Places for boxed values, filled and emptied without a lock.
//!
//! # Invariants
//! A place holds null or a pointer from `Box::into_raw` that nobody else has. Every access is an exchange, so a pointer that was read
//! out belongs to the reader.

use alloc::boxed::Box;
use core::marker::PhantomData;
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use vck_common::VckResult;

use super::memory::KVec;

/// So many places.
pub struct Slots<T> {
    places: KVec<AtomicPtr<T>>,
    /// Pointers say nothing about threads; what they point to does.
    owned: PhantomData<Box<T>>,
}

impl<T> Slots<T> {
    /// `count` empty places. Errors: no memory.
    pub fn try_new(count: usize) -> VckResult<Self> {
        let mut places = KVec::new();
        places.try_reserve(count)?;
        for _ in 0..count {
            places.try_push(AtomicPtr::new(ptr::null_mut()))?;
        }
        Ok(Self { places, owned: PhantomData })
    }

    /// Takes a value out, if there is one. IRQL <= DISPATCH_LEVEL.
    pub fn take(&self) -> Option<Box<T>> {
        // The look saves the exchange, and with it the cache line, where there is nothing.
        let full = self.places.iter().filter(|place| !place.load(Ordering::Relaxed).is_null());
        full.map(|place| place.swap(ptr::null_mut(), Ordering::AcqRel)).find(|value| !value.is_null()).map(|value| {
            // SAFETY: invariant.
            unsafe { Box::from_raw(value) }
        })
    }

    /// Puts a value in, or gives it back if every place is full. IRQL <= DISPATCH_LEVEL.
    pub fn put(&self, value: Box<T>) -> Result<(), Box<T>> {
        let raw = Box::into_raw(value);
        let empty = ptr::null_mut();
        for place in self.places.iter().filter(|place| place.load(Ordering::Relaxed).is_null()) {
            if place.compare_exchange(empty, raw, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
                return Ok(());
            }
        }
        // SAFETY: from `into_raw` above, and in no place.
        Err(unsafe { Box::from_raw(raw) })
    }
}

impl<T> Drop for Slots<T> {
    fn drop(&mut self) {
        while let Some(value) = self.take() {
            drop(value);
        }
    }
}

// SAFETY: values are handed from thread to thread, one owner at a time.
unsafe impl<T: Send> Sync for Slots<T> {}
// SAFETY: as for a box of each value.
unsafe impl<T: Send> Send for Slots<T> {}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::boxed::Box;

    use super::*;

    #[test]
    fn what_is_put_in_comes_out_once() {
        let slots = Slots::try_new(2).expect("memory");
        assert!(slots.take().is_none());
        assert_eq!(slots.put(Box::new(1)), Ok(()));
        assert_eq!(slots.put(Box::new(2)), Ok(()));
        assert_eq!(slots.put(Box::new(3)), Err(Box::new(3)));
        let (a, b) = (slots.take().expect("one"), slots.take().expect("two"));
        assert_eq!(*a + *b, 3);
        assert!(slots.take().is_none());
        assert_eq!(slots.put(a), Ok(()), "dropped with the slots");
    }
}
