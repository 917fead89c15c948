//! Fallible heap values. The infallible ones of `alloc` are banned in this crate.
//!
//! All of it is non-paged pool, so values may be touched at any IRQL up to DISPATCH_LEVEL.

use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::alloc::Layout;
use core::ops::{Deref, DerefMut, Range};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering, fence};

use vck_common::{VckError, VckResult};

/// Bytes of a page on x64.
pub(crate) const PAGE_SIZE: usize = 4096;

/// Boxes a value. IRQL <= DISPATCH_LEVEL.
pub fn try_box<T>(value: T) -> VckResult<Box<T>> {
    if size_of::<T>() == 0 {
        #[expect(clippy::disallowed_methods, reason = "a value of no size needs no memory, so this cannot fail")]
        return Ok(Box::new(value));
    }
    // SAFETY: the layout's size is not zero.
    let block = unsafe { alloc(Layout::new::<T>()) }.cast::<T>();
    if block.is_null() {
        return Err(VckError::NoMemory);
    }
    // SAFETY: `block` is fresh, and has the size and the alignment of T.
    unsafe { block.write(value) };
    // SAFETY: allocated with T's layout by the global allocator, initialised above, owned by nobody else.
    Ok(unsafe { Box::from_raw(block) })
}

/// Takes a value out of its box and wipes the memory before it is freed: moved there from a stack, its padding may carry
/// whatever the stack held before, keys included.
pub(super) fn unbox_wiped<T>(boxed: Box<T>) -> T {
    let block = Box::into_raw(boxed);
    // SAFETY: a live value, which is not dropped in place afterwards.
    let value = unsafe { block.read() };
    // SAFETY: the same allocation as plain bytes, none of which is read as a T any more.
    let boxed = unsafe { Box::from_raw(block.cast::<core::mem::MaybeUninit<T>>()) };
    let mut boxed = boxed;
    zeroize::Zeroize::zeroize(&mut *boxed);
    drop(boxed);
    value
}

/// A growable array whose growth can fail.
pub struct KVec<T>(Vec<T>);

impl<T> KVec<T> {
    /// An empty array; allocates nothing.
    #[must_use]
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Appends `value`, or gives it back with [`VckError::NoMemory`]'s meaning. IRQL <= DISPATCH_LEVEL.
    pub fn try_push(&mut self, value: T) -> VckResult<()> {
        self.0.try_reserve(1).map_err(|_| VckError::NoMemory)?;
        self.0.push(value);
        Ok(())
    }

    /// Makes room for `more` values, so that as many pushes cannot fail.
    pub fn try_reserve(&mut self, more: usize) -> VckResult<()> {
        self.0.try_reserve(more).map_err(|_| VckError::NoMemory)
    }

    /// Keeps the values for which `keep` answers true.
    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.0.retain(keep);
    }

    /// Takes out the last value.
    pub fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }
}

impl<T> Default for KVec<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Deref for KVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// A reference-counted value; `alloc::sync::Arc` without the infallible constructor.
///
/// # Invariants
/// `inner` comes from [`try_box`] and is live while `references` is above zero; each `Shared` owns one reference.
pub struct Shared<T> {
    inner: NonNull<Counted<T>>,
}

struct Counted<T> {
    references: AtomicUsize,
    value: T,
}

// SAFETY: as for Arc: the value is reachable from every thread that has a clone, and dropped on any of them.
unsafe impl<T: Send + Sync> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Moves `value` to the heap. IRQL <= DISPATCH_LEVEL.
    pub fn try_new(value: T) -> VckResult<Self> {
        let counted = try_box(Counted { references: AtomicUsize::new(1), value })?;
        Ok(Self { inner: NonNull::from(Box::leak(counted)) })
    }

    /// Whether both name the same value.
    #[must_use]
    pub fn same(a: &Self, b: &Self) -> bool {
        a.inner == b.inner
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: invariant: live while this reference exists.
        unsafe { self.inner.as_ref() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // Relaxed: a new reference can only be made from an existing one. The count cannot overflow: each clone lives
        // in pool memory, of which there is less than usize::MAX.
        self.counted().references.fetch_add(1, Ordering::Relaxed);
        Self { inner: self.inner }
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if self.counted().references.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            // SAFETY: the last reference is gone and the block came from a Box.
            drop(unsafe { Box::from_raw(self.inner.as_ptr()) });
        }
    }
}

/// A page-aligned byte buffer for transfers; wiped when dropped, unless its owner knows that it holds no plaintext.
///
/// # Invariants
/// `start` is a live allocation of `layout`, all of it initialised.
pub(crate) struct PageBuffer {
    start: NonNull<u8>,
    layout: Layout,
    wiped_on_drop: Range<usize>,
}

// SAFETY: an owned buffer.
unsafe impl Send for PageBuffer {}
// SAFETY: shared access only reads.
unsafe impl Sync for PageBuffer {}

impl PageBuffer {
    /// A zeroed buffer of `bytes` (at least one). IRQL <= DISPATCH_LEVEL.
    pub(crate) fn try_new(bytes: usize) -> VckResult<Self> {
        let layout = Layout::from_size_align(bytes.max(1), PAGE_SIZE).map_err(|_| VckError::NoMemory)?;
        // SAFETY: the size is not zero.
        let start = unsafe { alloc_zeroed(layout) };
        let wiped_on_drop = 0..layout.size();
        Ok(Self { start: NonNull::new(start).ok_or(VckError::NoMemory)?, layout, wiped_on_drop })
    }

    /// States which bytes have to be wiped before the memory is given back; at first all.
    pub(crate) fn set_wiped_on_drop(&mut self, wiped_on_drop: Range<usize>) {
        self.wiped_on_drop = wiped_on_drop;
    }

    pub(crate) fn is_wiped_on_drop(&self) -> bool {
        !self.wiped_on_drop.is_empty()
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        // SAFETY: invariant.
        unsafe { core::slice::from_raw_parts(self.start.as_ptr(), self.layout.size()) }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: invariant, and the borrow is exclusive.
        unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr(), self.layout.size()) }
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Drop for PageBuffer {
    fn drop(&mut self) {
        let secret = self.wiped_on_drop.clone();
        zeroize::Zeroize::zeroize(self.as_mut_slice().get_mut(secret).unwrap_or_default());
        // SAFETY: allocated with this layout, and nobody refers to it any more.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
