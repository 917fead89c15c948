//! Security descriptors: SDDL text, binary form, and the access check on open.
//!
//! # Rules modelled
//! * No DACL (`None`) grants everything; an empty DACL grants nothing.
//! * ACEs are read in order: a deny that covers a bit not yet granted refuses it; an allow grants it.
//! * Generic rights are mapped with the file mapping before the check, both in the ACE and in the request.
//! * `MAXIMUM_ALLOWED` yields all that the DACL grants.
//! * The owner gets `READ_CONTROL` and `WRITE_DAC`.
//!
//! Weaker than Windows: no privileges (take-ownership, backup), no integrity labels, no object or callback ACEs.

use super::sid::Sid;
use super::token::Token;

/// `GENERIC_READ` mapped for file objects.
pub const FILE_GENERIC_READ: u32 = 0x0012_0089;
/// `GENERIC_WRITE` mapped for file objects.
pub const FILE_GENERIC_WRITE: u32 = 0x0012_0116;
/// `GENERIC_EXECUTE` mapped for file objects.
pub const FILE_GENERIC_EXECUTE: u32 = 0x0012_00A0;
/// Every right of a file object.
pub const FILE_ALL_ACCESS: u32 = 0x001F_01FF;
const GENERIC_READ: u32 = 0x8000_0000;
const GENERIC_WRITE: u32 = 0x4000_0000;
const GENERIC_EXECUTE: u32 = 0x2000_0000;
const GENERIC_ALL: u32 = 0x1000_0000;
const MAXIMUM_ALLOWED: u32 = 0x0200_0000;
const READ_CONTROL: u32 = 0x0002_0000;
const WRITE_DAC: u32 = 0x0004_0000;
/// ACE flag: the ACE is only there to be inherited.
const INHERIT_ONLY: u8 = 0x08;

/// Maps generic rights to the specific rights of file objects.
#[must_use]
pub fn map_generic(access: u32) -> u32 {
    let table = [
        (GENERIC_READ, FILE_GENERIC_READ),
        (GENERIC_WRITE, FILE_GENERIC_WRITE),
        (GENERIC_EXECUTE, FILE_GENERIC_EXECUTE),
        (GENERIC_ALL, FILE_ALL_ACCESS),
    ];
    let specific = access & 0x0FFF_FFFF;
    table.iter().filter(|(generic, _)| access & generic != 0).fold(specific, |acc, (_, mapped)| acc | mapped)
}

/// One access control entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ace {
    /// Whether the entry grants (true) or denies.
    pub allow: bool,
    /// Inheritance flags as in the ACE header.
    pub flags: u8,
    /// Rights, generic ones already mapped.
    pub mask: u32,
    /// Whom the entry is about.
    pub sid: Sid,
}

/// A security descriptor without system ACL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SecurityDescriptor {
    /// Owner; may change the DACL.
    pub owner: Option<Sid>,
    /// Primary group; carried, never checked.
    pub group: Option<Sid>,
    /// The list; `None` is a NULL DACL.
    pub dacl: Option<Vec<Ace>>,
    /// `SE_DACL_PROTECTED`.
    pub protected: bool,
}

impl SecurityDescriptor {
    /// What a device gets that names no descriptor: administrators and SYSTEM everything, others read and traverse.
    #[must_use]
    pub fn default_device() -> Self {
        Self::from_sddl("D:(A;;GA;;;SY)(A;;GA;;;BA)(A;;GRGX;;;WD)").unwrap_or_default()
    }

    /// The descriptor a volume device carries: raw access for administrators and SYSTEM, metadata for others.
    #[must_use]
    pub fn default_volume() -> Self {
        Self::from_sddl("D:(A;;GA;;;SY)(A;;GA;;;BA)(A;;0x1200a0;;;WD)").unwrap_or_default()
    }

    /// Parses SDDL (`O:`, `G:`, `D:` parts; an `S:` part is read over). `None` on any syntax error.
    #[must_use]
    pub fn from_sddl(text: &str) -> Option<Self> {
        let mut descriptor = Self::default();
        let mut rest = text.trim();
        while !rest.is_empty() {
            let (tag, after) = (rest.get(..2)?, rest.get(2..)?);
            let end = part_end(after);
            let body = after.get(..end)?;
            match tag {
                "O:" => descriptor.owner = Some(parse_sid(body)?),
                "G:" => descriptor.group = Some(parse_sid(body)?),
                "D:" => descriptor.parse_dacl(body)?,
                "S:" => {}
                _ => return None,
            }
            rest = after.get(end..)?;
        }
        Some(descriptor)
    }

    fn parse_dacl(&mut self, body: &str) -> Option<()> {
        let open = body.find('(').unwrap_or(body.len());
        let flags = body.get(..open)?;
        if flags == "NO_ACCESS_CONTROL" {
            self.dacl = None;
            return Some(());
        }
        let mut tail = flags;
        while !tail.is_empty() {
            let strip = ["AR", "AI", "P"].iter().find(|flag| tail.starts_with(**flag))?;
            self.protected |= *strip == "P";
            tail = tail.get(strip.len()..)?;
        }
        let mut aces = Vec::new();
        let mut rest = body.get(open..)?;
        while !rest.is_empty() {
            let inner = rest.strip_prefix('(')?;
            let close = inner.find(')')?;
            aces.push(parse_ace(inner.get(..close)?)?);
            rest = inner.get(close + 1..)?;
        }
        self.dacl = Some(aces);
        Some(())
    }

    /// Which of `desired` a token gets: the granted mask, or `None` when a bit of it is refused.
    #[must_use]
    pub fn check(&self, token: &Token, desired: u32) -> Option<u32> {
        let maximum = desired & MAXIMUM_ALLOWED != 0;
        let wanted = map_generic(desired & !MAXIMUM_ALLOWED);
        let Some(aces) = &self.dacl else {
            return Some(if maximum { FILE_ALL_ACCESS } else { wanted });
        };
        let mut granted = 0_u32;
        let mut denied = 0_u32;
        if self.owner.as_ref().is_some_and(|owner| token.holds(owner)) {
            granted |= READ_CONTROL | WRITE_DAC;
        }
        for ace in aces.iter().filter(|ace| ace.flags & INHERIT_ONLY == 0 && token.holds(&ace.sid)) {
            if ace.allow {
                granted |= ace.mask & !denied;
            } else {
                denied |= ace.mask & !granted;
            }
        }
        if wanted & !granted != 0 {
            return None;
        }
        Some(if maximum { granted } else { wanted })
    }

    /// Absolute-to-relative: the self-relative binary form (MS-DTYP 2.4.6).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut control: u16 = 0x8000 | 0x0004;
        if self.protected {
            control |= 0x1000;
        }
        let mut out = vec![1_u8, 0];
        out.extend_from_slice(&control.to_le_bytes());
        out.extend_from_slice(&[0; 16]);
        for (slot, sid) in [(4, &self.owner), (8, &self.group)] {
            if let Some(sid) = sid {
                put_offset(&mut out, slot);
                out.extend_from_slice(&sid.to_bytes());
            }
        }
        if let Some(aces) = &self.dacl {
            put_offset(&mut out, 16);
            out.extend_from_slice(&acl_to_bytes(aces));
        }
        out
    }
}

fn put_offset(out: &mut [u8], slot: usize) {
    let here = u32::try_from(out.len()).unwrap_or(u32::MAX);
    out[slot..slot + 4].copy_from_slice(&here.to_le_bytes());
}

/// Binary form of an ACL of revision 2.
#[must_use]
pub fn acl_to_bytes(aces: &[Ace]) -> Vec<u8> {
    let mut body = Vec::new();
    for ace in aces {
        let sid = ace.sid.to_bytes();
        let size = u16::try_from(8 + sid.len()).unwrap_or(u16::MAX);
        body.extend_from_slice(&[u8::from(!ace.allow), ace.flags]);
        body.extend_from_slice(&size.to_le_bytes());
        body.extend_from_slice(&ace.mask.to_le_bytes());
        body.extend_from_slice(&sid);
    }
    let size = u16::try_from(8 + body.len()).unwrap_or(u16::MAX);
    let count = u16::try_from(aces.len()).unwrap_or(u16::MAX);
    let mut out = vec![2, 0];
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(&count.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&body);
    out
}

/// Reads the ACEs of a binary ACL; `None` when the list is damaged or holds an ACE that the model does not know.
#[must_use]
pub fn acl_from_bytes(bytes: &[u8]) -> Option<Vec<Ace>> {
    let u16_at = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_le_bytes([b[0], b[1]]));
    let count = u16_at(4)?;
    let mut at = 8;
    let mut aces = Vec::new();
    for _ in 0..count {
        let size = usize::from(u16_at(at + 2)?);
        let ace = bytes.get(at..at + size)?;
        let mask = ace.get(4..8).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))?;
        let allow = match *ace.first()? {
            0 => true,
            1 => false,
            _ => return None,
        };
        aces.push(Ace { allow, flags: *ace.get(1)?, mask: map_generic(mask), sid: Sid::from_bytes(ace.get(8..)?)? });
        at += size;
    }
    Some(aces)
}

/// End of one part: the next `X:` at parenthesis depth 0, or the end.
fn part_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut depth = 0_i32;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b':' if depth == 0 && at > 0 => return at - 1,
            _ => {}
        }
    }
    bytes.len()
}

fn parse_sid(text: &str) -> Option<Sid> {
    let text = text.trim();
    if text.len() == 2 { Sid::from_alias(text) } else { Sid::from_text(text) }
}

fn parse_ace(text: &str) -> Option<Ace> {
    let fields: Vec<&str> = text.split(';').map(str::trim).collect();
    let [kind, flags, rights, object, inherit, sid] = fields.as_slice() else { return None };
    if !object.is_empty() || !inherit.is_empty() {
        return None;
    }
    let allow = match *kind {
        "A" => true,
        "D" => false,
        _ => return None,
    };
    Some(Ace { allow, flags: parse_ace_flags(flags)?, mask: parse_rights(rights)?, sid: parse_sid(sid)? })
}

fn parse_ace_flags(mut text: &str) -> Option<u8> {
    let mut flags = 0;
    while !text.is_empty() {
        flags |= match text.get(..2)? {
            "OI" => 0x01,
            "CI" => 0x02,
            "NP" => 0x04,
            "IO" => INHERIT_ONLY,
            "ID" => 0x10,
            _ => return None,
        };
        text = text.get(2..)?;
    }
    Some(flags)
}

fn parse_rights(text: &str) -> Option<u32> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u32::from_str_radix(hex, 16).ok().map(map_generic);
    }
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return text.parse().ok().map(map_generic);
    }
    let mut rest = text;
    let mut mask = 0;
    while !rest.is_empty() {
        mask |= match rest.get(..2)? {
            "GA" => GENERIC_ALL,
            "GR" => GENERIC_READ,
            "GW" => GENERIC_WRITE,
            "GX" => GENERIC_EXECUTE,
            "RC" => READ_CONTROL,
            "SD" => 0x0001_0000,
            "WD" => WRITE_DAC,
            "WO" => 0x0008_0000,
            "FA" => FILE_ALL_ACCESS,
            "FR" => FILE_GENERIC_READ,
            "FW" => FILE_GENERIC_WRITE,
            "FX" => FILE_GENERIC_EXECUTE,
            "CC" => 0x0001,
            "DC" => 0x0002,
            "LC" => 0x0004,
            "SW" => 0x0008,
            "RP" => 0x0010,
            "WP" => 0x0020,
            "DT" => 0x0040,
            "LO" => 0x0080,
            "CR" => 0x0100,
            _ => return None,
        };
        rest = rest.get(2..)?;
    }
    Some(map_generic(mask))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: u32 = GENERIC_READ;
    const WRITE: u32 = GENERIC_WRITE;

    #[test]
    fn administrators_only() {
        let sd = SecurityDescriptor::from_sddl("D:P(A;;GA;;;SY)(A;;GA;;;BA)").expect("valid");
        assert!(sd.protected);
        assert_eq!(sd.check(&Token::administrator(), READ | WRITE), Some(FILE_GENERIC_READ | FILE_GENERIC_WRITE));
        assert!(sd.check(&Token::system(), FILE_ALL_ACCESS).is_some());
        assert_eq!(sd.check(&Token::user(), READ), None);
        assert_eq!(sd.check(&Token::user(), 0x0010_0000), None, "not even SYNCHRONIZE");
    }

    #[test]
    fn deny_before_allow_wins_and_order_matters() {
        let deny_first = SecurityDescriptor::from_sddl("D:(D;;GW;;;BU)(A;;GRGW;;;WD)").expect("valid");
        assert!(deny_first.check(&Token::user(), 1).is_some());
        assert_eq!(deny_first.check(&Token::user(), WRITE), None);
        let allow_first = SecurityDescriptor::from_sddl("D:(A;;GRGW;;;WD)(D;;GW;;;BU)").expect("valid");
        assert!(allow_first.check(&Token::user(), WRITE).is_some());
    }

    #[test]
    fn null_and_empty_dacl_differ() {
        let null = SecurityDescriptor::from_sddl("D:NO_ACCESS_CONTROL").expect("valid");
        assert!(null.check(&Token::restricted(), WRITE).is_some());
        let empty = SecurityDescriptor::from_sddl("D:P").expect("valid");
        assert_eq!(empty.check(&Token::system(), READ), None);
    }

    #[test]
    fn maximum_allowed_is_what_the_list_grants() {
        let sd = SecurityDescriptor::from_sddl("O:BAG:SYD:(A;;GA;;;BA)(A;;0x100080;;;WD)").expect("valid");
        assert_eq!(sd.check(&Token::user(), MAXIMUM_ALLOWED), Some(0x0010_0080));
        assert_eq!(sd.check(&Token::user(), 0x80), Some(0x80));
        assert_eq!(sd.owner, Sid::from_alias("BA"));
    }

    #[test]
    fn syntax_errors_are_refused() {
        for bad in ["D:(A;;GA;;;SY", "D:(A;;QQ;;;SY)", "X:foo", "D:(A;;GA;;SY)", "D:(Z;;GA;;;SY)", "D:(A;;GA;;;QQ)"] {
            assert!(SecurityDescriptor::from_sddl(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn acl_bytes_round_trip() {
        let sd = SecurityDescriptor::from_sddl("D:(D;;GW;;;BU)(A;OI;GR;;;WD)").expect("valid");
        let aces = sd.dacl.expect("has list");
        assert_eq!(acl_from_bytes(&acl_to_bytes(&aces)), Some(aces));
    }
}
