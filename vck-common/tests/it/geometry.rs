//! `layout.json`, and geometry and range classes against naive models.

use proptest::prelude::*;
use vck_common::{
    ByteLen, ByteOffset, DataExtent, DataSector, Extent, Geometry, Lba, RangeClass, RequestorKind, SectorCount,
    SectorSize, VckError, VendorSector,
};

use crate::support::{cases, number, small, text, vectors};

#[test]
fn layouts_match() {
    for case in cases(&vectors!("layout.json"), "cases") {
        let (inputs, name) = (&case["inputs"], text(case, "name"));
        let volume = SectorCount::new(number(inputs, "volume_sectors"));
        let (headers, footers) = (small(inputs, "header_replicas"), small(inputs, "footer_replicas"));
        let geometry = SectorSize::new(small(inputs, "sector_size"))
            .and_then(|size| Geometry::new(size, volume, headers, footers, small(inputs, "metadata_size")));
        let expected_error = match name {
            // Recorded as a success whose volume could never be opened again: the count was truncated to 0.
            "footer_count_256_truncates" | "metadata_size_below_128k" | "no_replicas" => Some("ValidationFailed"),
            "too_small_exactly_consumed" => Some("NoRoom"),
            // A sector of 256 KiB is refused as such, not through its consequence for the replica size.
            "sector_256" | "sector_bigger_than_metadata" => Some("Unsupported"),
            _ => None,
        };
        let geometry = match (geometry, expected_error) {
            (Ok(geometry), None) => geometry,
            (Err(VckError::ValidationFailed(_)), Some("ValidationFailed"))
            | (Err(VckError::NoRoom(_)), Some("NoRoom"))
            | (Err(VckError::Unsupported(_)), Some("Unsupported")) => continue,
            (outcome, _) => panic!("{name}: {outcome:?}"),
        };
        assert_eq!(case["reference"], "ok", "{name}");
        assert_eq!(geometry.replica_sectors().get(), number(case, "replica_sectors"), "{name}");
        assert_eq!(geometry.offset_sector().get(), number(case, "offset_sector"), "{name}");
        assert_eq!(geometry.data_sectors().get(), number(case, "data_sectors"), "{name}");
        assert_eq!(geometry.vendor_sectors().get(), number(case, "vendor_sectors_per_replica"), "{name}");
        let lbas: Vec<u64> = geometry.metadata_lbas().map(Lba::get).collect();
        assert_eq!(serde_json::json!(lbas), case["metadata_lbas_in_write_order"], "{name}");
        let bases: Vec<u64> =
            (0..geometry.replica_count()).map(|i| geometry.vendor_base_lba(i).unwrap().get()).collect();
        assert_eq!(serde_json::json!(bases), case["vendor_base_lbas"], "{name}");
    }
}

#[test]
fn a_volume_beyond_signed_byte_offsets_is_refused() {
    let sectors = SectorCount::new((1 << 54) + 1);
    assert!(matches!(Geometry::new(SectorSize::S512, sectors, 0, 2, 131_072), Err(VckError::Unsupported(_))));
    assert!(matches!(
        Geometry::whole(SectorSize::S512, SectorCount::new(u64::MAX), Lba::ZERO, SectorCount::new(1)),
        Err(VckError::Unsupported(_))
    ));
}

#[test]
fn a_whole_volume_has_an_offset_and_no_replicas() {
    let (size, total) = (SectorSize::S4096, SectorCount::new(100));
    let geometry = Geometry::whole(size, total, Lba::new(10), SectorCount::new(80)).unwrap();
    assert_eq!((geometry.replica_count(), geometry.metadata_lbas().count()), (0, 0));
    assert_eq!(geometry.data_to_lba(DataSector::new(79)), Some(Lba::new(89)));
    assert_eq!(geometry.data_to_lba(DataSector::new(80)), None);
    assert_eq!(geometry.vendor_sectors(), SectorCount::ZERO);
    for (offset, count) in [(10, 0), (10, 91), (u64::MAX, 1), (100, 1)] {
        let outside = Geometry::whole(size, total, Lba::new(offset), SectorCount::new(count));
        assert!(matches!(outside, Err(VckError::ValidationFailed(_))), "{offset}+{count}");
    }
}

#[test]
fn units_never_wrap() {
    assert_eq!(Lba::new(u64::MAX).checked_add(SectorCount::new(1)), None);
    assert_eq!(DataSector::new(3).checked_sub(SectorCount::new(4)), None);
    assert_eq!(ByteOffset::new(5).checked_distance_from(ByteOffset::new(6)), None);
    assert_eq!(ByteLen::new(1 << 63).checked_mul(2), None);
    assert_eq!(SectorSize::S512.bytes_of(SectorCount::new(1 << 55)), None);
    assert_eq!(VendorSector::new(u64::MAX).checked_add(SectorCount::new(1)), None);
    assert_eq!(DataExtent::new(DataSector::new(u64::MAX), SectorCount::new(2)).end(), None);
    for bytes in [0, 256, 511, 513, 520, 4095, 131_072] {
        assert!(SectorSize::new(bytes).is_err(), "{bytes}");
    }
}

fn geometries() -> impl Strategy<Value = Geometry> {
    (9_u32..13, 0_u8..4, 0_u8..4, 131_072_u32..400_000, 1_u64..5000).prop_filter_map(
        "no replica",
        |(shift, headers, footers, metadata_size, data)| {
            let size = SectorSize::new(1 << shift).unwrap();
            let replica = u64::from(metadata_size / size.bytes());
            let volume = (u64::from(headers) + u64::from(footers)) * replica + data;
            let (headers, footers) = (u32::from(headers), u32::from(footers));
            Geometry::new(size, SectorCount::new(volume), headers, footers, metadata_size).ok()
        },
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owner {
    Block(usize),
    Vendor(usize),
    Data(u64),
}

/// Walks the volume from its first sector to its last.
fn owners(geometry: &Geometry) -> Vec<Owner> {
    let replica = usize::try_from(geometry.replica_sectors().get()).unwrap();
    let headers = usize::from(geometry.header_count());
    let mut map = Vec::new();
    for index in 0..headers {
        map.push(Owner::Block(index));
        map.extend(vec![Owner::Vendor(index); replica - 1]);
    }
    map.extend((0..geometry.data_sectors().get()).map(Owner::Data));
    for index in headers..geometry.replica_count() {
        map.extend(vec![Owner::Vendor(index); replica - 1]);
        map.push(Owner::Block(index));
    }
    map
}

/// The rule, in 128-bit arithmetic and sector by sector where it matters.
fn model(geometry: &Geometry, offset: u64, len: u64, requestor: RequestorKind) -> RangeClass {
    let size = geometry.sector_size().u64();
    if !offset.is_multiple_of(size) || !len.is_multiple_of(size) {
        return RangeClass::Misaligned;
    }
    let data = u128::from(geometry.data_sectors().get()) * u128::from(size);
    if u128::from(offset) + u128::from(len) <= data {
        let extent = DataExtent::new(DataSector::new(offset / size), SectorCount::new(len / size));
        return RangeClass::Data(extent);
    }
    let start = u128::from(offset) + u128::from(geometry.offset_sector().get()) * u128::from(size);
    let volume = u128::from(geometry.volume_sectors().get()) * u128::from(size);
    if start < volume && requestor == RequestorKind::User { RangeClass::MetadataDenied } else { RangeClass::OutOfRange }
}

/// Values near the ends of the data region, of the volume, and of 64 bits.
fn edge(geometry: &Geometry, pick: u8, near: u64) -> u64 {
    let size = geometry.sector_size().u64();
    let base = match pick % 6 {
        0 => 0,
        1 => geometry.data_bytes().get(),
        2 => geometry.volume_bytes().get(),
        3 => geometry.volume_bytes().get() - geometry.offset_sector().get() * size,
        4 => u64::MAX - 4 * size + 1,
        _ => 7 * size,
    };
    let step = near % 9;
    let moved = if step < 5 { base.saturating_add(step * size) } else { base.saturating_sub((step - 4) * size) };
    if near.is_multiple_of(17) { moved | 1 } else { moved }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sector_has_one_owner(geometry in geometries()) {
        let map = owners(&geometry);
        prop_assert_eq!(map.len() as u64, geometry.volume_sectors().get());
        for (lba, owner) in (0..).map(Lba::new).zip(&map) {
            let (data, block) = match owner {
                Owner::Data(rel) => (Some(DataSector::new(*rel)), None),
                Owner::Block(index) => (None, Some(*index)),
                Owner::Vendor(_) => (None, None),
            };
            prop_assert_eq!(geometry.lba_to_data(lba), data);
            prop_assert_eq!(geometry.replica_at(lba), block);
            if let Some(rel) = data {
                prop_assert_eq!(geometry.data_to_lba(rel), Some(lba));
            }
        }
        prop_assert_eq!(geometry.data_to_lba(DataSector::new(geometry.data_sectors().get())), None);
        for index in 0..geometry.replica_count() {
            for rel in [0, geometry.vendor_sectors().get() - 1] {
                let lba = geometry.vendor_lba(index, VendorSector::new(rel), SectorCount::new(1)).unwrap();
                prop_assert_eq!(map[usize::try_from(lba.get()).unwrap()], Owner::Vendor(index));
            }
        }
    }

    #[test]
    fn extents_are_classified_as_the_model_says(
        geometry in geometries(),
        picks: [(u8, u64); 2],
        user: bool,
    ) {
        let offset = edge(&geometry, picks[0].0, picks[0].1);
        let len = edge(&geometry, picks[1].0, picks[1].1);
        let requestor = if user { RequestorKind::User } else { RequestorKind::Kernel };
        let extent = Extent::new(ByteOffset::new(offset), ByteLen::new(len));
        let class = geometry.classify(extent, requestor);
        prop_assert_eq!(class, model(&geometry, offset, len, requestor));
        if let RangeClass::Data(data) = class {
            prop_assert_eq!(geometry.byte_extent(data), Some(extent));
            let shifted = geometry.shift(extent.offset).unwrap();
            prop_assert_eq!(shifted.get(), offset + geometry.offset_sector().get() * geometry.sector_size().u64());
        }
    }

    #[test]
    fn a_split_keeps_every_sector(first in 0_u64..1000, count in 0_u64..100, boundary in 0_u64..1200) {
        let extent = DataExtent::new(DataSector::new(first), SectorCount::new(count));
        let (below, above) = extent.split_at(DataSector::new(boundary));
        let sectors = |extent: DataExtent| (extent.first.get()..extent.end().unwrap().get()).collect::<Vec<_>>();
        let whole = sectors(extent);
        prop_assert_eq!(sectors(below), whole.iter().copied().filter(|&s| s < boundary).collect::<Vec<_>>());
        prop_assert_eq!(sectors(above), whole.iter().copied().filter(|&s| s >= boundary).collect::<Vec<_>>());
        prop_assert!(!below.overlaps(above));
        prop_assert_eq!(extent.overlaps(below), !below.is_empty());
    }

    #[test]
    fn overlap_means_a_common_sector(a in 0_u64..40, an in 0_u64..10, b in 0_u64..40, bn in 0_u64..10) {
        let extent = |first, count| DataExtent::new(DataSector::new(first), SectorCount::new(count));
        let common = (a..a + an).any(|sector| (b..b + bn).contains(&sector));
        prop_assert_eq!(extent(a, an).overlaps(extent(b, bn)), common);
        prop_assert_eq!(extent(b, bn).overlaps(extent(a, an)), common);
    }
}
