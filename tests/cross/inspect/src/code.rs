//! Every instruction of the image: vector state that the kernel does not save.
//!
//! On x64 Windows a driver may use xmm registers freely with legacy SSE encodings: the kernel preserves them. It does
//! not preserve the upper halves of ymm and zmm, mask registers, x87 or MMX. A VEX encoding clears the upper half of
//! its destination even when it names an xmm register, and needs a processor and a system with AVX, so every VEX or
//! EVEX vector instruction counts.
//!
//! Functions listed in [`GUARDED`] are reached only between a save and a restore of the extended state.

use iced_x86::{
    CpuidFeature, Decoder, DecoderError, DecoderOptions, EncodingKind, Formatter as _, Instruction,
    InstructionInfoFactory, Mnemonic, NasmFormatter, Register,
};

use crate::{Image, Report, Symbols};

/// Prefix of a demangled function name whose wide instructions are allowed, and why.
pub struct Guarded {
    /// Prefix of the demangled name, crate first.
    pub prefix: &'static str,
    /// What makes it safe.
    pub why: &'static str,
}

/// Functions that run inside a saved extended state.
pub const GUARDED: &[Guarded] = &[
    Guarded {
        prefix: "vck_common::xts::vaes256::",
        why: "cipher kernel, reached only with proof that the AVX state is saved",
    },
    Guarded {
        prefix: "vck_common::xts::vaes512::",
        why: "cipher kernel, reached only with proof that the AVX and AVX-512 state is saved",
    },
];

/// Rows printed for one kind of violation before the rest is only counted.
const SHOWN: usize = 8;

/// Runs the checks of this module.
pub fn check(image: &Image<'_>, symbols: &Symbols, report: &mut Report) {
    check_against(image, symbols, GUARDED, report);
}

/// The same with a list of guarded functions other than [`GUARDED`].
pub fn check_against(image: &Image<'_>, symbols: &Symbols, allowed: &[Guarded], report: &mut Report) {
    let starts = function_starts(image, symbols);
    let mut total = 0_usize;
    let mut guarded = 0_usize;
    let mut bad = Vec::new();
    for (rva, data) in image.code() {
        sweep(rva, data, &starts, |at, instruction, error| {
            total += 1;
            let complaint = match error {
                // Padding between functions decodes; what does not is data in a code section.
                DecoderError::None => complaint(instruction),
                _ => Some("does not decode"),
            };
            let Some(complaint) = complaint else { return };
            let name = symbols.containing(at).unwrap_or("");
            if allowed.iter().any(|entry| name.starts_with(entry.prefix)) {
                guarded += 1;
            } else {
                bad.push(format!("rva {at:#x} in {name}: {} ({complaint})", text(instruction)));
            }
        });
    }
    report.row("code", total > 0, format!("{total} instructions decoded from {} starts", starts.len()));
    report.good("code", format!("{guarded} wide instructions in guarded functions"));
    for entry in allowed {
        report.good("code", format!("guarded: {}  {}", entry.prefix, entry.why));
    }
    let hidden = bad.len().saturating_sub(SHOWN);
    for line in bad.iter().take(SHOWN) {
        report.bad("code", line);
    }
    if hidden > 0 {
        report.bad("code", format!("and {hidden} more"));
    }
    if bad.is_empty() {
        report.good("code", "no instruction touches ymm, zmm, mask, x87 or MMX state outside them");
    }
}

/// Where functions begin, by the unwind table and by the map. Decoding starts over at each, so that one odd byte
/// cannot make the rest of a section decode out of step.
fn function_starts(image: &Image<'_>, symbols: &Symbols) -> Vec<u32> {
    let mut starts: Vec<u32> = crate::frames::functions(image).map(|function| function.begin).collect();
    starts.extend(symbols.addresses().filter(|rva| image.is_code(*rva)));
    starts.push(image.entry());
    starts.sort_unstable();
    starts.dedup();
    starts
}

fn sweep(rva: u32, data: &[u8], starts: &[u32], mut visit: impl FnMut(u32, &Instruction, DecoderError)) {
    let end = rva.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
    let mut cuts: Vec<u32> = starts.iter().copied().filter(|start| (rva..end).contains(start)).collect();
    if cuts.first() != Some(&rva) {
        cuts.insert(0, rva);
    }
    cuts.push(end);
    let mut instruction = Instruction::default();
    for window in cuts.windows(2) {
        let &[from, to] = window else { continue };
        let Some(bytes) = data.get((from - rva) as usize..(to - rva) as usize) else { continue };
        let mut decoder = Decoder::with_ip(64, bytes, u64::from(from), DecoderOptions::NONE);
        while decoder.can_decode() {
            decoder.decode_out(&mut instruction);
            // An instruction pointer inside a section is below 4 GiB: RVAs are 32 bits.
            visit(u32::try_from(instruction.ip()).unwrap_or(u32::MAX), &instruction, decoder.last_error());
        }
    }
}

/// Why the instruction must not be in unguarded kernel code.
fn complaint(instruction: &Instruction) -> Option<&'static str> {
    if matches!(instruction.mnemonic(), Mnemonic::Vzeroupper | Mnemonic::Vzeroall) {
        return Some("clears the upper halves of all ymm registers");
    }
    let legacy_stack = [CpuidFeature::FPU, CpuidFeature::FPU287, CpuidFeature::FPU387, CpuidFeature::MMX];
    if instruction.cpuid_features().iter().any(|feature| legacy_stack.contains(feature)) {
        return Some("x87 or MMX");
    }
    let vector_encoding = !matches!(instruction.encoding(), EncodingKind::Legacy | EncodingKind::D3NOW);
    let mut factory = InstructionInfoFactory::new();
    factory.info(instruction).used_registers().iter().find_map(|used| classify(used.register(), vector_encoding))
}

fn classify(register: Register, vector_encoding: bool) -> Option<&'static str> {
    if register.is_ymm() || register.is_zmm() {
        Some("ymm or zmm")
    } else if register.is_k() {
        Some("mask register")
    } else if register.is_xmm() && vector_encoding {
        Some("VEX or EVEX encoding: not built for the kernel's baseline")
    } else if register.is_st() || register.is_mm() {
        Some("x87 or MMX")
    } else {
        None
    }
}

fn text(instruction: &Instruction) -> String {
    let mut out = String::new();
    NasmFormatter::new().format(instruction, &mut out);
    out
}
