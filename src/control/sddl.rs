//! The subset of SDDL that a control device needs: `D:` or `D:P`, then access-allowed entries `(A;;rights;;;group)`.
//!
//! Rights: `GA`, `GR`, `GW`, `GX` in any combination, or a hexadecimal mask. Groups: `SY` (local system), `BA` (administrators),
//! `AU` (authenticated users), `BU` (users), `WD` (everyone). The DACL is protected either way: nothing is inherited.
//! Source: "ACE Strings" and "SID Strings" in the Windows security documentation.

use vck_common::{VckError, VckResult};

use crate::nt::{Ace, KVec, Sid};

const RIGHTS: [(&str, u32); 4] = [("GA", 0x1000_0000), ("GR", 0x8000_0000), ("GW", 0x4000_0000), ("GX", 0x2000_0000)];

const GROUPS: [(&str, Sid); 5] = [
    ("SY", Sid { authority: 5, sub: [18, 0], count: 1 }),
    ("BA", Sid { authority: 5, sub: [32, 544], count: 2 }),
    ("AU", Sid { authority: 5, sub: [11, 0], count: 1 }),
    ("BU", Sid { authority: 5, sub: [32, 545], count: 2 }),
    ("WD", Sid { authority: 1, sub: [0, 0], count: 1 }),
];

/// The entries of a descriptor. Errors: anything outside the subset; an empty list, which would lock everybody out.
pub(super) fn parse(text: &str) -> VckResult<KVec<Ace>> {
    let outside = VckError::InvalidData("the security descriptor is outside the supported subset of SDDL");
    let mut rest = text.strip_prefix("D:").ok_or(outside)?;
    rest = rest.strip_prefix('P').unwrap_or(rest);
    let mut entries = KVec::new();
    while !rest.is_empty() {
        let (entry, after) = rest.strip_prefix('(').and_then(|rest| rest.split_once(')')).ok_or(outside)?;
        entries.try_push(parse_entry(entry).ok_or(outside)?)?;
        rest = after;
    }
    if entries.is_empty() { Err(outside) } else { Ok(entries) }
}

fn parse_entry(entry: &str) -> Option<Ace> {
    let mut fields = entry.split(';');
    let empty = |fields: &mut core::str::Split<'_, char>| fields.next().filter(|field| field.is_empty()).map(|_| ());
    fields.next().filter(|kind| *kind == "A")?;
    empty(&mut fields)?;
    let mask = parse_rights(fields.next()?)?;
    empty(&mut fields)?;
    empty(&mut fields)?;
    let group = fields.next()?;
    if fields.next().is_some() {
        return None;
    }
    let (_, sid) = GROUPS.iter().find(|(name, _)| *name == group)?;
    Some(Ace { mask, sid: *sid })
}

fn parse_rights(text: &str) -> Option<u32> {
    if let Some(digits) = text.strip_prefix("0x") {
        return u32::from_str_radix(digits, 16).ok();
    }
    let (mut mask, mut rest) = (0, text);
    while !rest.is_empty() {
        let (name, after) = rest.split_at_checked(2)?;
        mask |= RIGHTS.iter().find(|(known, _)| *known == name)?.1;
        rest = after;
    }
    (mask != 0).then_some(mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_descriptor_is_understood() {
        let entries = parse("D:P(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGX;;;AU)").unwrap();
        let masks: std::vec::Vec<u32> = entries.iter().map(|entry| entry.mask).collect();
        assert_eq!(masks, [0x1000_0000, 0x1000_0000, 0xA000_0000]);
        assert_eq!(entries.first().unwrap().sid, Sid { authority: 5, sub: [18, 0], count: 1 });
    }

    #[test]
    fn everything_outside_the_subset_is_refused() {
        let bad = [
            "",
            "D:P",
            "O:SYD:(A;;GA;;;SY)",
            "D:P(D;;GA;;;SY)",
            "D:P(A;OI;GA;;;SY)",
            "D:P(A;;G;;;SY)",
            "D:P(A;;;;;SY)",
            "D:P(A;;GA;;;XX)",
            "D:P(A;;GA;;;SY",
            "D:P(A;;GA;;;SY;)",
            "D:P(A;;0x;;;SY)",
            "D:P(A;;GA;;;SY)x",
        ];
        for text in bad {
            assert!(parse(text).is_err(), "{text} was accepted");
        }
    }
}
