//! The allocator that counts.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

static HELD: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Allocations of this thread so far.
pub(crate) fn by_this_thread() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

/// What `run` returns, the most bytes that were held at once meanwhile, and how often it allocated.
pub(crate) fn during<T>(run: impl FnOnce() -> T) -> (T, usize, u64) {
    let held = HELD.load(Ordering::Relaxed);
    MOST.store(held, Ordering::Relaxed);
    let allocations = by_this_thread();
    let answer = run();
    let most = MOST.load(Ordering::Relaxed).saturating_sub(held);
    (answer, most, by_this_thread() - allocations)
}

fn count(bytes: usize) {
    let held = HELD.fetch_add(bytes, Ordering::Relaxed) + bytes;
    MOST.fetch_max(held, Ordering::Relaxed);
    // Fails only while the thread ends; nothing is measured there.
    ALLOCATIONS
        .try_with(|count| count.set(count.get() + 1))
        .unwrap_or_default();
}

struct Counting;

// SAFETY: every method hands its arguments unchanged to the system allocator, which keeps the
// contract; counting allocates nothing, because the cell is const-initialised and has no drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may be held while the bytes move.
        count(new_size);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
