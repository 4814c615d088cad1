//! The memory that a parser may ask for at once, on the word of the bytes that it
//! is given.

use std::alloc::{GlobalAlloc, Layout, System};

/// The largest image that a driver takes is 64 MB; a vector may have grown to it.
const LARGEST_BYTES: usize = 160 << 20;

struct Bounded;

#[global_allocator]
static BOUNDED: Bounded = Bounded;

fn check(bytes: usize) {
    assert!(bytes <= LARGEST_BYTES, "{bytes} bytes at once");
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Bounded {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        check(layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        check(bytes);
        // SAFETY: as the caller promises.
        unsafe { System.realloc(at, layout, bytes) }
    }
}
