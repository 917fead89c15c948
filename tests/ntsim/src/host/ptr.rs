//! Pointers that go along with a closure to another simulated thread.

/// A driver's pointer that the kernel passes on without looking at it.
#[derive(Debug)]
pub(crate) struct SendPtr<T>(pub(crate) *mut T);

impl<T> Clone for SendPtr<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for SendPtr<T> {}

impl<T> SendPtr<T> {
    /// The pointer.
    pub(crate) fn get(self) -> *mut T {
        self.0
    }
}

// SAFETY: a pointer is a number; whoever dereferences it on the other thread states why that is sound.
unsafe impl<T> Send for SendPtr<T> {}
