//! The kernels under test.

use vck_common::xts::{Features, Kernel, WideRegisters};
use vck_common::{DataSector, SectorSize, VolumeCipher, XtsVolumeCipher};

use crate::peer::SectorCipher;

thread_local! {
    /// The permission belongs to a thread. It is asked for once: that executes CPUID, which takes microseconds in a virtual
    /// machine and was once held against our kernels in each pass.
    static REGISTERS: WideRegisters<'static> = WideRegisters::in_user_mode();
}

/// One kernel of the volume cipher, called as a worker of the driver calls it.
pub(crate) struct Ours(XtsVolumeCipher);

/// Whether processor and system have what `kernel` needs.
pub(crate) fn available(kernel: Kernel) -> bool {
    Kernel::fastest(Features::detected() & kernel.features(), WideRegisters::in_user_mode().state()) == kernel
}

/// The fastest kernel here.
pub(crate) fn best() -> Kernel {
    Kernel::ALL.into_iter().rfind(|kernel| available(*kernel)).unwrap_or(Kernel::Portable)
}

impl Ours {
    pub(crate) fn new(kernel: Kernel, key: &[u8; 64]) -> Self {
        let half = |at: usize| key[at..at + 32].try_into().expect("32 bytes");
        let cipher =
            XtsVolumeCipher::with_features(&half(0), &half(32), kernel.features()).expect("a cipher without memory");
        let chosen = cipher.wide_kernel(REGISTERS.with(|registers| registers.state()));
        assert_eq!(chosen, kernel, "another kernel than asked for would be measured");
        Self(cipher)
    }

    /// Encrypts out of place.
    pub(crate) fn copy(&self, src: &[u8], sector: usize, first: u64) -> Vec<u8> {
        let mut dst = vec![0; src.len()];
        let registers = REGISTERS.with(|registers| *registers);
        self.0.encrypt_copy_wide(src, &mut dst, size(sector), DataSector::new(first), registers);
        dst
    }
}

fn size(sector: usize) -> SectorSize {
    if sector == 512 { SectorSize::S512 } else { SectorSize::S4096 }
}

impl SectorCipher for Ours {
    fn run(&mut self, encrypt: bool, buf: &mut [u8], sector: usize, first: u64) {
        let (size, first, registers) = (size(sector), DataSector::new(first), REGISTERS.with(|registers| *registers));
        if encrypt {
            self.0.encrypt_area_wide(buf, size, first, registers);
        } else {
            self.0.decrypt_area_wide(buf, size, first, registers);
        }
    }
}
