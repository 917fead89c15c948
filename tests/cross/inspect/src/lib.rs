//! Judges the driver's image and its INF from their bytes alone.
//!
//! The image that is shipped is the one thing no test against a simulated kernel can see. This crate reads it the way
//! the loader and the processor will: headers, sections, imports, every instruction, every unwind record. It shares no
//! code with the driver and trusts no build log. One thing cannot be read from an image: the offsets it was compiled with.
//! Those are asserted at compile time by `vck-layout`, whose table is printed with the rest.
//!
//! # Rules
//! * Every check gives one row per subject; a row is either `ok` with what was found, or `BAD` with why it matters.
//! * A table of what is allowed says why each entry is needed. What is not listed is not allowed.
//! * What cannot be read is a failure, never skipped.

pub mod code;
pub mod frames;
pub mod headers;
pub mod image;
pub mod imports;
pub mod inf;
pub mod layouts;
pub mod report;
pub mod symbols;

pub use image::Image;
pub use report::Report;
pub use symbols::Symbols;

/// Runs every check of an image. `map` is the text of the linker's map file, which names functions; without it,
/// addresses stand in for names and no code counts as a guarded kernel.
///
/// # Errors
/// A message when the bytes are not a 64-bit PE image at all.
pub fn inspect(bytes: &[u8], map: Option<&str>) -> Result<Report, String> {
    let image = Image::parse(bytes)?;
    let symbols = map.map_or_else(|| Ok(Symbols::default()), |text| Symbols::parse(text, image.base()))?;
    let mut report = Report::default();
    headers::check(&image, &mut report);
    imports::check(&image, &mut report);
    code::check(&image, &symbols, &mut report);
    frames::check(&image, &symbols, &mut report);
    layouts::show(&mut report);
    Ok(report)
}
