//! The log sink: one line a record, to the kernel debugger.

use core::fmt::{self, Write};

use log::{LevelFilter, Log, Metadata, Record};

use super::{sys, time};

/// DbgPrint cuts at 512 bytes.
const LINE: usize = 500;

struct KernelDebugger;

/// The sink has no state; law 2 excepts it.
static SINK: KernelDebugger = KernelDebugger;

/// Installs the sink; later calls change nothing.
pub(crate) fn install() {
    if log::set_logger(&SINK).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}

/// A line in the making; what does not fit is cut.
struct Line {
    bytes: [u8; LINE + 2],
    used: usize,
}

impl Line {
    fn push(&mut self, byte: u8) -> fmt::Result {
        if self.used >= LINE {
            return Err(fmt::Error);
        }
        let slot = self.bytes.get_mut(self.used).ok_or(fmt::Error)?;
        *slot = byte;
        self.used = self.used.saturating_add(1);
        Ok(())
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // The routine takes a format string and gets no arguments.
            if byte == b'%' {
                self.push(b'%')?;
            }
            self.push(byte)?;
        }
        Ok(())
    }
}

impl Log for KernelDebugger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        /// Units of 100 ns between 1601 and 1970.
        const UNIX_EPOCH: u64 = 116_444_736_000_000_000;
        let millis = time::system_time().saturating_sub(UNIX_EPOCH) / 10_000;
        let mut line = Line { bytes: [0; LINE + 2], used: 0 };
        // A line that is cut is still worth printing.
        let _ =
            write!(line, "{}.{:03} vck-windrv: [{}] {}", millis / 1000, millis % 1000, record.level(), record.args());
        if let Some(end) = line.bytes.get_mut(line.used) {
            *end = b'\n';
        }
        // SAFETY: zero-terminated (two bytes are left behind the text), per cent signs doubled; any IRQL up to DIRQL.
        let _ = unsafe { sys::DbgPrint(line.bytes.as_ptr().cast()) };
    }

    fn flush(&self) {}
}
