//! Where a disk's durable bytes live: sparse memory or a sparse image file. Nothing is ever loaded whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

/// Memory is held in pieces of this many bytes; a piece that was never written reads as zeros and takes no memory.
const PIECE: u64 = 1 << 20;

/// Alignment of [`Pages`].
const PAGE: usize = 4096;

/// Bytes that begin on a page, as those of requests do. Between buffers that lie a few bytes apart, modulo the page, some processors
/// copy several times slower, so that what a request costs would depend on where the host's allocator happened to put them.
#[derive(Debug)]
pub(crate) struct Pages {
    bytes: Vec<u8>,
    skipped: usize,
}

impl Pages {
    /// At least `len` bytes, zero-filled.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = vec![0; len + PAGE];
        let skipped = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        Self { bytes, skipped }
    }

    /// How many they are.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len().saturating_sub(PAGE)
    }

    /// The bytes.
    pub(crate) fn get(&self) -> &[u8] {
        &self.bytes[self.skipped..self.skipped + self.len()]
    }

    /// The bytes.
    pub(crate) fn get_mut(&mut self) -> &mut [u8] {
        let len = self.len();
        &mut self.bytes[self.skipped..self.skipped + len]
    }
}

type Piece = Mutex<Option<Pages>>;

/// The durable bytes of one disk.
#[derive(Debug)]
pub(crate) enum Store {
    /// Pieces of memory, each under a lock of its own so that requests far apart do not meet.
    Memory(Vec<Piece>),
    /// An image file, accessed by position.
    Image(File),
}

impl Store {
    /// Zero-filled memory of `bytes` bytes.
    pub(crate) fn memory(bytes: u64) -> Self {
        let pieces = usize::try_from(bytes.div_ceil(PIECE)).unwrap_or(0);
        Self::Memory((0..pieces).map(|_| Mutex::new(None)).collect())
    }

    /// Opens or makes an image file of at least `bytes` bytes, sparse where the host's file system allows it.
    pub(crate) fn image(path: &Path, bytes: u64) -> io::Result<Self> {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        if file.metadata()?.len() < bytes {
            file.set_len(bytes)?;
        }
        Ok(Self::Image(file))
    }

    /// Reads at a byte offset; false when the host refuses.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> bool {
        match self {
            Self::Image(file) => file.read_exact_at(buf, offset).is_ok(),
            Self::Memory(pieces) => {
                let mut done = 0;
                while done < buf.len() {
                    let (index, within, run) = locate(offset, done, buf.len());
                    let Some(slot) = pieces.get(index) else { return false };
                    let part = &mut buf[done..done + run];
                    match &*slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner) {
                        Some(piece) => part.copy_from_slice(&piece.get()[within..within + run]),
                        None => part.fill(0),
                    }
                    done += run;
                }
                true
            }
        }
    }

    /// Writes at a byte offset; false when the host refuses.
    pub(crate) fn write(&self, offset: u64, buf: &[u8]) -> bool {
        match self {
            Self::Image(file) => file.write_all_at(buf, offset).is_ok(),
            Self::Memory(pieces) => {
                let mut done = 0;
                while done < buf.len() {
                    let (index, within, run) = locate(offset, done, buf.len());
                    let Some(slot) = pieces.get(index) else { return false };
                    let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    let piece = slot.get_or_insert_with(|| Pages::new(usize::try_from(PIECE).unwrap_or(0)));
                    piece.get_mut()[within..within + run].copy_from_slice(&buf[done..done + run]);
                    done += run;
                }
                true
            }
        }
    }
}

/// Piece index, offset within it, and bytes that fit, for the byte `done` of a run of `total` that starts at `offset`.
fn locate(offset: u64, done: usize, total: usize) -> (usize, usize, usize) {
    let at = offset + done as u64;
    let within = usize::try_from(at % PIECE).unwrap_or(0);
    let room = usize::try_from(PIECE).unwrap_or(0) - within;
    (usize::try_from(at / PIECE).unwrap_or(usize::MAX), within, room.min(total - done))
}
