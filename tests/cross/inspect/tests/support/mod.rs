//! Small PE images made by hand, so that each test plants exactly one violation.

use vck_inspect::headers::{checksum_field, pe_checksum};

const PAGE: u32 = 0x1000;
const FILE_PAGE: u32 = 0x200;
pub(crate) const READ: u32 = 0x4000_0000;
pub(crate) const EXECUTE: u32 = 0x2000_0000;
pub(crate) const WRITE: u32 = 0x8000_0000;
/// `ret`.
pub(crate) const RET: &[u8] = &[0xC3];

/// What goes into an image; the default passes every check.
pub(crate) struct Pe {
    pub(crate) machine: u16,
    pub(crate) subsystem: u16,
    pub(crate) dll_characteristics: u16,
    pub(crate) entry: u32,
    pub(crate) code: Vec<u8>,
    pub(crate) code_flags: u32,
    pub(crate) imports: Vec<(&'static str, &'static str)>,
    /// Stack allocation in the unwind record of the one function.
    pub(crate) frame: u32,
}

impl Default for Pe {
    fn default() -> Self {
        Self {
            machine: 0x8664,
            subsystem: 1,
            dll_characteristics: 0x01E0,
            entry: PAGE,
            code: RET.to_vec(),
            code_flags: READ | EXECUTE | 0x20,
            imports: vec![("ntoskrnl.exe", "ExFreePoolWithTag")],
            frame: 40,
        }
    }
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn align(value: u32, to: u32) -> u32 {
    value.div_ceil(to) * to
}

impl Pe {
    /// The file, with a valid checksum.
    pub(crate) fn build(&self) -> Vec<u8> {
        let code_size = align(u32::try_from(self.code.len()).unwrap(), FILE_PAGE);
        let data_rva = align(PAGE + code_size, PAGE);
        let (data, exception, import) = self.data(data_rva);
        let data_size = align(u32::try_from(data.len()).unwrap(), FILE_PAGE);
        let mut bytes = vec![0_u8; 0x400];
        put(&mut bytes, 0, b"MZ");
        put(&mut bytes, 0x3C, &0x80_u32.to_le_bytes());
        put(&mut bytes, 0x80, b"PE\0\0");
        self.file_header(&mut bytes);
        self.optional_header(&mut bytes, data_rva + PAGE, exception, import);
        section(&mut bytes, 0, b".text", (PAGE, code_size, 0x400), self.code_flags);
        section(&mut bytes, 1, b".rdata", (data_rva, data_size, 0x400 + code_size), READ | 0x40);
        bytes.extend(&self.code);
        // int3, as linkers pad.
        bytes.resize(0x400 + code_size as usize, 0xCC);
        bytes.extend(data);
        bytes.resize(0x400 + (code_size + data_size) as usize, 0);
        fix_checksum(&mut bytes);
        bytes
    }

    fn file_header(&self, bytes: &mut [u8]) {
        put(bytes, 0x84, &self.machine.to_le_bytes());
        put(bytes, 0x86, &2_u16.to_le_bytes());
        put(bytes, 0x94, &240_u16.to_le_bytes());
        put(bytes, 0x96, &0x2022_u16.to_le_bytes());
    }

    fn optional_header(&self, bytes: &mut [u8], size: u32, exception: (u32, u32), import: (u32, u32)) {
        let at = 0x98;
        put(bytes, at, &0x20B_u16.to_le_bytes());
        put(bytes, at + 16, &self.entry.to_le_bytes());
        put(bytes, at + 24, &0x1_8000_0000_u64.to_le_bytes());
        put(bytes, at + 32, &PAGE.to_le_bytes());
        put(bytes, at + 36, &FILE_PAGE.to_le_bytes());
        put(bytes, at + 56, &size.to_le_bytes());
        put(bytes, at + 60, &0x400_u32.to_le_bytes());
        put(bytes, at + 68, &self.subsystem.to_le_bytes());
        put(bytes, at + 70, &self.dll_characteristics.to_le_bytes());
        put(bytes, at + 108, &16_u32.to_le_bytes());
        for (index, (rva, size)) in [(1, import), (3, exception)] {
            put(bytes, at + 112 + index * 8, &rva.to_le_bytes());
            put(bytes, at + 116 + index * 8, &size.to_le_bytes());
        }
    }

    /// Read-only data: one unwind record, the exception directory, the import directory. Gives their places.
    fn data(&self, rva: u32) -> (Vec<u8>, (u32, u32), (u32, u32)) {
        let mut data = Vec::new();
        // UNWIND_INFO version 1, one UWOP_ALLOC_LARGE with a 32-bit size in two more slots.
        data.extend([1, 7, 3, 0, 7, 0x11]);
        data.extend(self.frame.to_le_bytes());
        data.resize(16, 0);
        let end = PAGE + u32::try_from(self.code.len()).unwrap();
        for word in [PAGE, end, rva] {
            data.extend(word.to_le_bytes());
        }
        data.resize(32, 0);
        let descriptors = data.len();
        data.resize(descriptors + (self.imports.len() + 1) * 20, 0);
        for (index, (library, routine)) in self.imports.iter().enumerate() {
            let place = |data: &Vec<u8>| rva + u32::try_from(data.len()).unwrap();
            let name = place(&data);
            data.extend(library.bytes().chain([0]));
            let hint = place(&data);
            data.extend([0, 0].into_iter().chain(routine.bytes()).chain([0]));
            data.resize(data.len().next_multiple_of(8), 0);
            let thunks = place(&data);
            data.extend(u64::from(hint).to_le_bytes());
            data.extend(0_u64.to_le_bytes());
            for (offset, value) in [(0, thunks), (12, name), (16, thunks)] {
                put(&mut data, descriptors + index * 20 + offset, &value.to_le_bytes());
            }
        }
        let size = u32::try_from((self.imports.len() + 1) * 20).unwrap();
        (data, (rva + 16, 12), (rva + 32, size))
    }
}

fn section(bytes: &mut [u8], index: usize, name: &[u8], (rva, size, file): (u32, u32, u32), flags: u32) {
    let at = 0x98 + 240 + index * 40;
    put(bytes, at, name);
    for (offset, value) in [(8, size), (12, rva), (16, size), (20, file), (36, flags)] {
        put(bytes, at + offset, &value.to_le_bytes());
    }
}

/// Writes the checksum that belongs to the bytes.
pub(crate) fn fix_checksum(bytes: &mut [u8]) {
    let field = checksum_field(bytes).unwrap();
    let sum = pe_checksum(bytes, field);
    put(bytes, field, &sum.to_le_bytes());
}
