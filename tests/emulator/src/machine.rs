//! What an operating system would give: an entry, memory routines, a heap and a line of output.
//!
//! # Invariants
//! * One processor, no interrupts: nothing runs at the same time.
//! * Memory from [`HEAP`] to its end is used by nothing else; the boot sector mapped it.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::{asm, global_asm};
use core::cell::Cell;
use core::fmt::{self, Write};
use core::ptr;

/// First and last address of the heap.
const HEAP: (usize, usize) = (0x40_0000, 0x300_0000);

global_asm!(
    ".section .text._start, \"ax\"",
    ".globl _start",
    "_start:",
    "and rsp, -16",
    "call {main}",
    "2: hlt",
    "jmp 2b",
    ".text",
    ".globl memcpy",
    "memcpy: mov rax, rdi; mov rcx, rdx; rep movsb; ret",
    ".globl memset",
    "memset: mov r8, rdi; mov eax, esi; mov rcx, rdx; rep stosb; mov rax, r8; ret",
    ".globl memmove",
    "memmove: mov rax, rdi; mov rcx, rdx; cmp rdi, rsi; jbe 3f",
    "lea rdi, [rdi + rdx - 1]; lea rsi, [rsi + rdx - 1]; std; rep movsb; cld; ret",
    "3: rep movsb; ret",
    ".globl memcmp",
    ".globl bcmp",
    "memcmp:",
    "bcmp: xor eax, eax; test rdx, rdx; jz 5f",
    "4: movzx eax, byte ptr [rdi]; movzx ecx, byte ptr [rsi]; sub eax, ecx; jnz 5f",
    "inc rdi; inc rsi; dec rdx; jnz 4b",
    "5: ret",
    main = sym crate::main,
);

/// Memory is given out once and given back only when it was the last.
struct Heap(Cell<usize>);

// SAFETY: one processor and no interrupts.
unsafe impl Sync for Heap {}

// SAFETY: addresses are handed out once, aligned, inside the heap, or not at all.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let start = self.0.get().next_multiple_of(layout.align());
        match start.checked_add(layout.size()).filter(|end| *end <= HEAP.1) {
            Some(end) => {
                self.0.set(end);
                ptr::with_exposed_provenance_mut(start)
            }
            None => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if memory.addr() + layout.size() == self.0.get() {
            self.0.set(memory.addr());
        }
    }
}

#[global_allocator]
static MEMORY: Heap = Heap(Cell::new(HEAP.0));

/// Runs `work`, of which nothing on the heap may be left, and takes its memory back.
pub(crate) fn scratch<T: Copy>(work: impl FnOnce() -> T) -> T {
    let mark = MEMORY.0.get();
    let result = work();
    MEMORY.0.set(mark);
    result
}

fn out(port: u16, byte: u8) {
    // SAFETY: writing these ports of the emulator touches no memory.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, options(nomem, nostack, preserves_flags)) };
}

/// The emulator's output.
pub(crate) struct Output;

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.bytes().for_each(|byte| out(0xE9, byte));
        Ok(())
    }
}

/// Ends the emulator.
pub(crate) fn shut_down() -> ! {
    b"Shutdown".iter().for_each(|byte| out(0x8900, *byte));
    loop {
        core::hint::spin_loop();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    let _infallible = writeln!(Output, "\ncheck: FAILED {info}");
    shut_down()
}

/// The precompiled core library refers to it; nothing unwinds here.
// SAFETY: no other symbol of the program has the name.
#[unsafe(no_mangle)]
extern "C" fn rust_eh_personality() {}
