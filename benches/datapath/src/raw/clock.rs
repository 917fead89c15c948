//! What the host says about the current thread and about the machine: processor time, preemptions, other programs.

/// Nanoseconds that the current thread has run on a processor.
pub(crate) fn thread_time() -> u64 {
    time(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// Nanoseconds that all threads of this process have run.
pub(crate) fn process_time() -> u64 {
    time(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn time(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the result goes into a variable of ours; it stays zero on error.
    let _ = unsafe { libc::clock_gettime(clock, &raw mut now) };
    u64::try_from(now.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// How often the current thread has lost its processor to another one while it had something to do.
pub(crate) fn preemptions() -> u64 {
    // SAFETY: plain integers, for which zeros are values.
    let mut usage: libc::rusage = unsafe { core::mem::zeroed() };
    // SAFETY: the result goes into a variable of ours.
    let _ = unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    u64::try_from(usage.ru_nivcsw).unwrap_or(0)
}

/// The processor that the current thread runs on.
pub(crate) fn current_processor() -> usize {
    // SAFETY: no arguments.
    usize::try_from(unsafe { libc::sched_getcpu() }).unwrap_or(0)
}

/// Keeps the current thread on one processor. Without success it goes where the host wants it.
pub(crate) fn stay_on(processor: usize) {
    // SAFETY: plain integers, for which zeros are values.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: a variable of ours; numbers beyond its end are refused.
    unsafe { libc::CPU_SET(processor, &mut set) };
    // SAFETY: 0 is the current thread; the set is as large as is said.
    let _ = unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

/// Nanoseconds that all processors have worked, for whomever, in steps of the host's clock tick (10 ms); stolen time counts as work.
pub(crate) fn machine_time() -> u64 {
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
    // user nice system idle iowait irq softirq steal
    let busy = fields.take(8).enumerate().filter(|(index, _)| !matches!(index, 3 | 4));
    busy.filter_map(|(_, field)| field.parse::<u64>().ok()).sum::<u64>() * 10_000_000
}
