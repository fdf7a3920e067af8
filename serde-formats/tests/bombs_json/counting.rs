//! The allocator that counts, for each thread by itself: tests run side by side.
#![allow(unsafe_code, reason = "GlobalAlloc is an unsafe trait")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a thread did so far.
#[derive(Debug, Clone, Copy)]
struct Counts {
    allocations: u64,
    held: usize,
    most: usize,
}

thread_local! {
    static COUNTS: Cell<Counts> = const {
        Cell::new(Counts { allocations: 0, held: 0, most: 0 })
    };
}

/// Allocations of this thread so far, growing a block included.
pub(crate) fn allocations() -> u64 {
    COUNTS.with(Cell::get).allocations
}

/// What `run` returns, the most bytes that were held at once meanwhile, and how often it allocated.
pub(crate) fn during<T>(run: impl FnOnce() -> T) -> (T, usize, u64) {
    let before = COUNTS.with(Cell::get);
    COUNTS.with(|counts| {
        counts.set(Counts {
            most: before.held,
            ..before
        });
    });
    let answer = run();
    let after = COUNTS.with(Cell::get);
    (
        answer,
        after.most.saturating_sub(before.held),
        after.allocations - before.allocations,
    )
}

fn change(taken: usize, given: usize) {
    // Fails only while the thread ends; nothing is measured there.
    COUNTS
        .try_with(|counts| {
            let mut now = counts.get();
            now.allocations += u64::from(taken > 0);
            now.held = now.held.saturating_add(taken);
            now.most = now.most.max(now.held);
            now.held = now.held.saturating_sub(given);
            counts.set(now);
        })
        .unwrap_or_default();
}

struct Counting;

// SAFETY: every method hands its arguments unchanged to the system allocator, which keeps the
// contract; counting allocates nothing, because the cell is const-initialised and has no drop.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        change(layout.size(), 0);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both blocks may be held while the bytes move.
        change(new_size, layout.size());
        // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
        unsafe { System.realloc(block, layout, new_size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        change(0, layout.size());
        // SAFETY: `block` came from `System` with `layout`, since all methods delegate.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;
