//! The image as the checks see it: parsed headers and bounds-checked access by RVA.

use object::LittleEndian as LE;
use object::pe::{IMAGE_SCN_MEM_EXECUTE, ImageNtHeaders64, ImageSectionHeader};
use object::read::pe::{ImageNtHeaders, ImageOptionalHeader, PeFile64};

/// A 64-bit PE image.
pub struct Image<'a> {
    bytes: &'a [u8],
    pe: PeFile64<'a>,
}

impl<'a> Image<'a> {
    /// Reads the headers.
    ///
    /// # Errors
    /// A message when the bytes are not a 64-bit PE image.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let pe = PeFile64::parse(bytes).map_err(|error| format!("not a 64-bit PE image: {error}"))?;
        Ok(Self { bytes, pe })
    }

    /// The parsed file.
    #[must_use]
    pub fn pe(&self) -> &PeFile64<'a> {
        &self.pe
    }

    /// The whole file.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// NT headers.
    #[must_use]
    pub fn nt(&self) -> &'a ImageNtHeaders64 {
        self.pe.nt_headers()
    }

    /// The address the image prefers.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.nt().optional_header().image_base()
    }

    /// RVA of the entry point.
    #[must_use]
    pub fn entry(&self) -> u32 {
        self.nt().optional_header().address_of_entry_point()
    }

    /// The section headers.
    pub fn sections(&self) -> impl Iterator<Item = &'a ImageSectionHeader> + use<'a> {
        self.pe.section_table().iter()
    }

    /// Name of a section.
    #[must_use]
    pub fn section_name(section: &ImageSectionHeader) -> String {
        String::from_utf8_lossy(section.raw_name()).into_owned()
    }

    /// Sections with code: their RVA and their bytes in the file.
    pub fn code(&self) -> impl Iterator<Item = (u32, &'a [u8])> + '_ {
        self.sections()
            .filter(|section| section.characteristics.get(LE) & IMAGE_SCN_MEM_EXECUTE != 0)
            .filter_map(|section| Some((section.virtual_address.get(LE), section.pe_data(self.bytes).ok()?)))
    }

    /// Whether an RVA lies in a section with code.
    #[must_use]
    pub fn is_code(&self, rva: u32) -> bool {
        self.code().any(|(start, data)| rva.checked_sub(start).is_some_and(|at| (at as usize) < data.len()))
    }

    /// The bytes from an RVA to the end of its section.
    #[must_use]
    pub fn at(&self, rva: u32) -> Option<&'a [u8]> {
        self.pe.section_table().pe_data_at(self.bytes, rva)
    }

    /// Two bytes at an RVA.
    #[must_use]
    pub fn u16_at(&self, rva: u32) -> Option<u16> {
        Some(u16::from_le_bytes(self.at(rva)?.get(..2)?.try_into().ok()?))
    }

    /// Four bytes at an RVA.
    #[must_use]
    pub fn u32_at(&self, rva: u32) -> Option<u32> {
        Some(u32::from_le_bytes(self.at(rva)?.get(..4)?.try_into().ok()?))
    }
}
