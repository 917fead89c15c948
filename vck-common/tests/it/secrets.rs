//! Secrets and sealed updates: what they keep, what they refuse.

use vck_common::{
    Durability, Lba, MemoryIo, SealedUpdate, Secret, SecretBytes, SectorCount, SectorSize, VckError, XtsVolumeCipher,
    jvck::JvckSecrets, secret::MAX_SECRET_LEN,
};
use zeroize::ZeroizeOnDrop;

use crate::support::error_of;

/// Whether a type has `Debug` or `Clone`, decided at compile time: the inherent constant exists only if it has, and hides
/// the trait's.
macro_rules! has {
    ($trait:path, $type:ty) => {{
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Ask<T: ?Sized>(core::marker::PhantomData<T>);
        impl<T: ?Sized + $trait> Ask<T> {
            const HAS: bool = true;
        }
        // Both constants are in use whatever the answer is.
        let _both = (Ask::<u8>::HAS, <Ask<u8> as Otherwise>::HAS);
        <Ask<$type>>::HAS
    }};
}

#[test]
fn secrets_can_neither_be_printed_nor_cloned() {
    assert!(has!(core::fmt::Debug, [u8; 32]) && has!(Clone, [u8; 32]), "the question works");
    assert!(!has!(core::fmt::Debug, Secret<32>) && !has!(Clone, Secret<32>));
    assert!(!has!(core::fmt::Debug, SecretBytes) && !has!(Clone, SecretBytes));
    assert!(!has!(core::fmt::Debug, JvckSecrets) && !has!(Clone, JvckSecrets));
    assert!(!has!(core::fmt::Debug, XtsVolumeCipher) && !has!(Clone, XtsVolumeCipher));
    assert!(!has!(core::fmt::Debug, vck_common::wire::PrepareReq<'_>));
    assert!(!has!(core::fmt::Debug, vck_common::wire::AttachReq<'_>));
    assert!(!has!(core::fmt::Debug, vck_common::handover::HandoverPayload<'_>));
    assert!(!has!(core::fmt::Debug, SealedUpdate));
}

#[test]
fn secrets_are_wiped_on_drop() {
    const fn wiped<T: ZeroizeOnDrop>() {}
    wiped::<Secret<16>>();
    wiped::<SecretBytes>();
    wiped::<XtsVolumeCipher>();
}

#[test]
fn secrets_are_bounded() {
    let longest = SecretBytes::copy_from(&[7; MAX_SECRET_LEN]).ok().unwrap();
    assert_eq!((longest.len(), longest.expose()), (4096, &[7; MAX_SECRET_LEN][..]));
    assert!(SecretBytes::copy_from(&[]).ok().unwrap().is_empty());
    assert!(matches!(error_of(SecretBytes::copy_from(&[7; MAX_SECRET_LEN + 1])), VckError::InvalidData(_)));
    let mut filled = Secret::<4>::zeroed();
    filled.expose_mut().copy_from_slice(&[1, 2, 3, 4]);
    assert_eq!(filled.expose(), Secret::copy_from(&[1, 2, 3, 4]).expose());
}

#[test]
fn an_update_lists_its_writes_in_order_and_shares_equal_bytes() {
    let mut update = SealedUpdate::new();
    assert!(matches!(update.push_same(Lba::new(1)), Err(VckError::InvalidData(_))));
    update.push_sector(Lba::new(9), &[1; 512], SectorSize::S4096).unwrap();
    update.push_same(Lba::new(3)).unwrap();
    update.push(Lba::new(5), &[2; 512]).unwrap();
    assert!(matches!(update.push_sector(Lba::ZERO, &[0; 513], SectorSize::S512), Err(VckError::InvalidData(_))));
    let writes: Vec<_> = update.writes().map(|(lba, bytes)| (lba.get(), bytes.len(), bytes[0], bytes[511])).collect();
    assert_eq!(writes, [(9, 4096, 1, 1), (3, 4096, 1, 1), (5, 512, 2, 2)]);
    let padded = update.writes().next().unwrap().1;
    assert!(padded[512..].iter().all(|&byte| byte == 0));
    update.reserve(10, 1 << 16).unwrap();
    assert_eq!(update.writes().count(), 3, "making room keeps what is there");
    assert_eq!(update.writes().nth(2).unwrap().1, [2; 512]);
    update.clear();
    assert!(update.is_empty() && update.writes().next().is_none());
}

#[test]
fn applying_stops_at_the_first_error() {
    let io = MemoryIo::new(SectorSize::S512, SectorCount::new(16)).unwrap();
    let mut update = SealedUpdate::new();
    for (lba, byte) in [(1, 1), (99, 2), (2, 3)] {
        update.push(Lba::new(lba), &[byte; 512]).unwrap();
    }
    assert_eq!(update.len(), 3);
    assert!(matches!(update.apply(&io, Durability::OnReturn), Err(VckError::InvalidData(_))));
    let image = io.image();
    assert_eq!((image[512], image[1024]), (1, 0));
}
