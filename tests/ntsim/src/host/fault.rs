//! Wild accesses of driver code, turned into findings.
//!
//! A driver that touches memory it may not touch gets a signal from the host. When it was driver code of a simulated
//! thread, the handler lets that thread go on in [`land`], which reports a finding as any routine of the simulator
//! does and never comes back. Faults of anything else go to whoever handled them before, after a line with the seed.
//!
//! # Invariants
//! * Driver code runs on the stack of its simulated thread, holds no host lock, and is never resumed after a finding:
//!   so its frames may be left where they are.
//! * The handler touches nothing but the carrier's cells, the saved registers and the previous handlers, which were
//!   stored before it was installed.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{page_heap, tls};
use crate::core::{Kernel, Rule, USER_BIT};

const SIGNALS: [i32; 2] = [libc::SIGSEGV, libc::SIGBUS];
/// Bytes below the stack pointer that compiled code may be using.
const RED_ZONE: usize = 128;

type Action = libc::sigaction;

/// What handled the signals before, in the order of [`SIGNALS`].
static PREVIOUS: OnceLock<[Action; 2]> = OnceLock::new();

fn action_of(signal: i32) -> Option<Action> {
    let mut action = MaybeUninit::<Action>::uninit();
    // SAFETY: a null new action only asks; the pointer is to enough room.
    let status = unsafe { libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) };
    // SAFETY: filled in when the call succeeded.
    (status == 0).then(|| unsafe { action.assume_init() })
}

fn set_action(signal: i32, action: &Action) {
    // SAFETY: `action` is a complete action whose handler keeps the rules of signal handlers (invariants above), or
    // one that was installed before.
    let _status = unsafe { libc::sigaction(signal, action, std::ptr::null_mut()) };
}

/// Installs the handler, once for the process.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| {
        let previous = SIGNALS.map(|signal| action_of(signal).unwrap_or_else(default_action));
        for (signal, before) in SIGNALS.into_iter().zip(&previous) {
            let mut action = *before;
            action.sa_sigaction = handle as *const () as usize;
            // Threads of the host have a second stack for signals, made by the run-time library.
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
            set_action(signal, &action);
        }
        previous
    });
}

fn default_action() -> Action {
    // SAFETY: an action of zeros is the default action.
    unsafe { MaybeUninit::zeroed().assume_init() }
}

extern "C" fn handle(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if !tls::in_driver() {
        return decline(signal);
    }
    // SAFETY: the host passes a valid description of the signal.
    let info = unsafe { &*info };
    // SAFETY: the address is there for these two signals.
    let address = unsafe { info.si_addr() }.addr();
    // SAFETY: with SA_SIGINFO the third argument is the interrupted thread's context.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    redirect(&mut context.uc_mcontext.gregs, address);
}

/// Lets the interrupted thread go on in [`land`], on its own stack, as if it had called it.
fn redirect(registers: &mut [libc::greg_t; 23], address: usize) {
    let register = |at: i32| usize::try_from(at).unwrap_or(0);
    // A non-canonical address is not told; then it still is in the register that the access went through.
    let hidden = |value: &i64| value.cast_unsigned() >> 48 == (USER_BIT >> 48) as u64;
    let poison = |value: &i64| value.cast_unsigned() >> 48 == 0xDDDD;
    let general = &registers[..register(libc::REG_RSP)];
    let class = match () {
        () if address != 0 => 0,
        () if general.iter().any(hidden) => 1,
        () if general.iter().any(poison) => 2,
        () => 0,
    };
    let stack = usize::try_from(registers[register(libc::REG_RSP)]).unwrap_or(0);
    // As behind a call: the stack pointer is 8 bytes off a multiple of 16.
    let top = ((stack - RED_ZONE) & !15) - 8;
    registers[register(libc::REG_RSP)] = i64::try_from(top).unwrap_or(0);
    registers[register(libc::REG_RDI)] = (address as u64).cast_signed();
    registers[register(libc::REG_RSI)] = class;
    registers[register(libc::REG_RIP)] = (land as *const () as u64).cast_signed();
}

/// Where a driver's wild access ends.
extern "C" fn land(address: usize, class: usize) -> ! {
    tls::abandon_driver_mode();
    let found = tls::with_kernel(|kernel| {
        let (rule, text) = explain(kernel, address, class);
        kernel.finding(rule, text)
    });
    match found {
        Some(never) => never,
        None => std::process::abort(),
    }
}

fn explain(kernel: &Kernel, address: usize, class: usize) -> (Rule, String) {
    match class {
        1 => (Rule::UnmappedAccess, "a user buffer was touched without a mapping".to_owned()),
        2 => (Rule::UseAfterFree, "a pointer was followed that was read from freed memory".to_owned()),
        _ if page_heap::contains(address) => kernel.explain_page(address),
        _ => (Rule::UnmappedAccess, format!("memory was touched at {address:#x}, where there is none")),
    }
}

/// A fault that no driver code made: what happened before goes on to happen, with the seed told first.
fn decline(signal: i32) {
    tls::with_kernel(|kernel| say_seed(kernel.config().seed));
    let at = usize::from(signal != SIGNALS[0]);
    let previous = PREVIOUS.get().map_or_else(default_action, |all| all[at]);
    // The faulting instruction runs again and meets the handler of before.
    set_action(signal, &previous);
}

/// Writes the seed to standard error without the help of the run-time library's locks.
fn say_seed(seed: u64) {
    static SAID: AtomicUsize = AtomicUsize::new(0);
    if SAID.fetch_add(1, Ordering::Relaxed) > 0 {
        return;
    }
    let mut line = *b"the simulator itself touched wild memory, seed                     0\n";
    let mut rest = seed;
    for byte in line.iter_mut().rev().skip(1).take(20) {
        if rest > 0 {
            *byte = b'0' + u8::try_from(rest % 10).unwrap_or(0);
        }
        rest /= 10;
    }
    // SAFETY: the line is that long; the descriptor is standard error.
    let _written = unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}
