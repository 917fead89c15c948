//! Security identifiers: binary form (MS-DTYP 2.4.2.2) and the two-letter names of SDDL.

/// A security identifier.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sid {
    authority: u64,
    sub: Vec<u32>,
}

/// Largest number of sub-authorities a SID may have.
const MAX_SUB: usize = 15;

impl Sid {
    /// A SID of the NT authority (5).
    #[must_use]
    pub fn nt(sub: &[u32]) -> Self {
        Self { authority: 5, sub: sub.to_vec() }
    }

    /// Everyone, `S-1-1-0`.
    #[must_use]
    pub fn everyone() -> Self {
        Self { authority: 1, sub: vec![0] }
    }

    /// The local system account, `S-1-5-18`.
    #[must_use]
    pub fn local_system() -> Self {
        Self::nt(&[18])
    }

    /// Built-in Administrators, `S-1-5-32-544`.
    #[must_use]
    pub fn administrators() -> Self {
        Self::nt(&[32, 544])
    }

    /// Built-in Users, `S-1-5-32-545`.
    #[must_use]
    pub fn users() -> Self {
        Self::nt(&[32, 545])
    }

    /// Interactive logons, `S-1-5-4`.
    #[must_use]
    pub fn interactive() -> Self {
        Self::nt(&[4])
    }

    /// Authenticated users, `S-1-5-11`.
    #[must_use]
    pub fn authenticated_users() -> Self {
        Self::nt(&[11])
    }

    /// An account of this machine with the relative identifier `rid`.
    #[must_use]
    pub fn account(rid: u32) -> Self {
        Self::nt(&[21, 111, 222, 333, rid])
    }

    /// The SID of a two-letter SDDL alias; `None` for an alias the model does not know.
    #[must_use]
    pub fn from_alias(alias: &str) -> Option<Self> {
        Some(match alias {
            "SY" => Self::local_system(),
            "BA" => Self::administrators(),
            "BU" => Self::users(),
            "BG" => Self::nt(&[32, 546]),
            "PU" => Self::nt(&[32, 547]),
            "BO" => Self::nt(&[32, 551]),
            "WD" => Self::everyone(),
            "AU" => Self::authenticated_users(),
            "IU" => Self::interactive(),
            "NU" => Self::nt(&[2]),
            "SU" => Self::nt(&[6]),
            "AN" => Self::nt(&[7]),
            "RC" => Self::nt(&[12]),
            "LS" => Self::nt(&[19]),
            "NS" => Self::nt(&[20]),
            "UD" => Self { authority: 5, sub: vec![84, 0, 0, 0, 0, 0] },
            "CO" => Self { authority: 3, sub: vec![0] },
            "CG" => Self { authority: 3, sub: vec![1] },
            "OW" => Self { authority: 3, sub: vec![4] },
            "AC" => Self { authority: 15, sub: vec![2, 1] },
            "LW" => Self { authority: 16, sub: vec![4096] },
            "ME" => Self { authority: 16, sub: vec![8192] },
            "HI" => Self { authority: 16, sub: vec![12288] },
            "SI" => Self { authority: 16, sub: vec![16384] },
            _ => return None,
        })
    }

    /// Parses `S-1-5-32-544`.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (s, revision) = (parts.next()?, parts.next()?);
        if !s.eq_ignore_ascii_case("S") || revision != "1" {
            return None;
        }
        let authority = parts.next()?.parse().ok()?;
        let sub: Vec<u32> = parts.map(str::parse).collect::<Result<_, _>>().ok()?;
        (sub.len() <= MAX_SUB).then_some(Self { authority, sub })
    }

    /// Binary form, as kernel structures carry it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let count = u8::try_from(self.sub.len()).unwrap_or(u8::MAX);
        let mut out = vec![1, count];
        out.extend_from_slice(&self.authority.to_be_bytes()[2..]);
        for sub in &self.sub {
            out.extend_from_slice(&sub.to_le_bytes());
        }
        out
    }

    /// Reads the binary form; extra bytes behind it are ignored.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let count = usize::from(*bytes.get(1)?);
        if *bytes.first()? != 1 || count > MAX_SUB {
            return None;
        }
        let mut authority = [0_u8; 8];
        authority[2..].copy_from_slice(bytes.get(2..8)?);
        let body = bytes.get(8..8 + 4 * count)?;
        let sub = body.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
        Some(Self { authority: u64::from_be_bytes(authority), sub })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_alias_and_bytes_agree() {
        let sid = Sid::from_text("S-1-5-32-544").expect("valid");
        assert_eq!(Some(&sid), Sid::from_alias("BA").as_ref());
        let bytes = sid.to_bytes();
        assert_eq!(bytes, [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 32, 2, 0, 0]);
        assert_eq!(Sid::from_bytes(&bytes), Some(sid));
        assert_eq!(Sid::from_bytes(&bytes[..15]), None);
        assert_eq!(Sid::from_text("S-2-5-1"), None);
    }
}
