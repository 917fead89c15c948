#!/usr/bin/env python3
"""Writes record.json: conversion records by a second implementation, made from docs/on-disk-format.md alone.

usage: make_record.py > record.json
"""
import hashlib
import hmac
import json
import struct

MASK = (1 << 64) - 1
VMK = b"vector key of the conversion record"
VOLUME_ID = bytes(range(0x10, 0x20))


def hkdf(salt, secret, info, length):
    prk, block, out = hmac.digest(salt, secret, "sha256"), b"", b""
    for count in range(1, 1 + -(-length // 32)):
        block = hmac.digest(prk, block + info + bytes([count]), "sha256")
        out += block
    return out[:length]


MAC_KEY = hkdf(VOLUME_ID, VMK, b"ConversionRecord:MAC", 32)
DIGEST_KEY = hkdf(VOLUME_ID, VMK, b"ConversionRecord:Digest", 528)


def siphash(k0, k1, message):
    rotate = lambda x, n: (x << n | x >> (64 - n)) & MASK
    v = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]

    def rounds(n):
        for _ in range(n):
            v[0] = (v[0] + v[1]) & MASK; v[1] = rotate(v[1], 13) ^ v[0]; v[0] = rotate(v[0], 32)
            v[2] = (v[2] + v[3]) & MASK; v[3] = rotate(v[3], 16) ^ v[2]
            v[0] = (v[0] + v[3]) & MASK; v[3] = rotate(v[3], 21) ^ v[0]
            v[2] = (v[2] + v[1]) & MASK; v[1] = rotate(v[1], 17) ^ v[2]; v[2] = rotate(v[2], 32)

    whole = len(message) // 8 * 8
    last = message[whole:].ljust(7, b"\0") + bytes([len(message) & 255])
    for (word,) in struct.iter_unpack("<Q", message[:whole] + last):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 255
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


assert siphash(0x0706050403020100, 0x0F0E0D0C0B0A0908, bytes(range(15))) == 0xA129CA6149BE45E5


def digest(number, sector):
    key = struct.unpack("<66Q", DIGEST_KEY)
    message = b""
    for at in range(0, len(sector), 512):
        m = struct.unpack("<64Q", sector[at:at + 512])
        total = sum(((m[i] + key[i]) & MASK) * ((m[i + 1] + key[i + 1]) & MASK) for i in range(0, 64, 2))
        message += (total % (1 << 128)).to_bytes(16, "little")
    return siphash(key[64], key[65], message + struct.pack("<Q", number))


def ciphertext(sectors, size):
    return bytes((7 * i + i // 512) % 256 for i in range(sectors * size))


def lbas(v):
    rs = v["metadata_size"] // v["sector_size"]
    start = v["volume_sectors"] - v["footers"] * rs
    return [i * rs for i in range(v["headers"])] + [start + j * rs + rs - 1 for j in range(v["footers"])]


def slot_lbas(v, slot):
    """Where the slot begins in each replica, and how many sectors it has."""
    rs = v["metadata_size"] // v["sector_size"]
    unit = max(1, 4096 // v["sector_size"])
    most = -(-(1536 + 8 * 16384) // (unit * v["sector_size"]))
    count = min((rs // unit - 1) // 2, most) * unit
    start = v["volume_sectors"] - v["footers"] * rs
    first = [i * rs + unit for i in range(v["headers"])] + [start + j * rs for j in range(v["footers"])]
    return [lba + slot * count for lba in first], count


def block_header(v):
    block = bytearray(512)
    struct.pack_into("<4sQHHIIBB", block, 0, b"JVCK", 0, 1, 0, v["metadata_size"], v["sector_size"], v["headers"], v["footers"])
    block[32:48] = VOLUME_ID
    return hashlib.sha256(block).digest()


def seal(record):
    record[480:512] = hmac.digest(MAC_KEY, bytes(record[:480] + record[512:]), "sha256")
    return record


def record(v):
    # A torn sector held bytes of its own number, modulo 256.
    entry, size = v["entry"], v["sector_size"]
    first, count = entry["zone"]
    out = bytearray(1536)
    activity = ["idle", "running", "paused", "faulted"].index(entry["activity"])
    direction = ["encrypt", "decrypt"].index(entry["direction"])
    struct.pack_into("<8sHBBI16s", out, 0, b"VCKRECRD", 1, activity, direction, size, VOLUME_ID)
    struct.pack_into("<QQQQQ", out, 32, v["generation"], entry["boundary"], first, count, v["volume_sectors"])
    if entry["error"]:
        error = entry["error"]
        struct.pack_into("<QIIBB", out, 72, error["lba"], error["status"], error["count"], error["kind"], 1)
    salts = [bytes.fromhex(salt) for salt in dict.fromkeys(v["block_salts"])]
    struct.pack_into("<BBH", out, 90, len(salts), int(v["upcoming"] is not None), len(entry["damaged"]))
    out[96:128] = hashlib.sha256(b"".join(struct.pack("<Q", lba) for lba in lbas(v))).digest()
    out[128:160] = block_header(v)
    if v["upcoming"]:
        out[160:176] = bytes.fromhex(v["upcoming"])
    for at, salt in enumerate(salts):
        out[176 + 16 * at:192 + 16 * at] = salt
    for at, (sector, damage) in enumerate(entry["damaged"]):
        held = digest(sector, bytes([sector % 256]) * size) if damage == "torn" else 0
        struct.pack_into("<QQ", out, 512 + 16 * at, sector | ["torn", "unreadable"].index(damage) << 63, held)
    data = ciphertext(count, size)
    for at in range(count):
        out += struct.pack("<Q", digest(first + at, data[at * size:(at + 1) * size]))
    out += bytes(-len(out) % size)
    return seal(out)


def salt(n):
    return (bytes([n]) * 16).hex()


RECORDS = [
    dict(
        name="the first step of an encryption", sector_size=512, volume_sectors=2048, headers=0, footers=2,
        metadata_size=131072, block_salts=[salt(1), salt(1)], upcoming=salt(2), generation=1,
        entry=dict(activity="running", direction="encrypt", boundary=0, zone=[0, 5], error=None, damaged=[]),
    ),
    dict(
        name="a decryption that met an error", sector_size=4096, volume_sectors=256, headers=1, footers=1,
        metadata_size=131072, block_salts=[salt(4), salt(3)], upcoming=salt(5), generation=2,
        entry=dict(
            activity="faulted", direction="decrypt", boundary=72, zone=[60, 12],
            error=dict(kind=3, lba=0x0123456789, status=0xC000009C, count=5),
            damaged=[[62, "torn"], [191, "unreadable"]],
        ),
    ),
    dict(
        name="paused between two steps, three salts", sector_size=512, volume_sectors=2048, headers=2, footers=1,
        metadata_size=131072, block_salts=[salt(8), salt(7), salt(6)], upcoming=None, generation=3,
        entry=dict(activity="paused", direction="encrypt", boundary=1280, zone=[0, 0], error=None, damaged=[[7, "torn"]]),
    ),
]

# Changes to the first record that keep its MAC right, and what opening answers.
ALTERED = [
    ("nothing is changed", [], "entry"),
    ("another magic", [(0, b"VCKRECRE")], "nothing"),
    ("a later version", [(8, b"\2\0")], "nothing"),
    ("an unknown activity", [(10, b"\4")], "bad block"),
    ("an unknown direction", [(11, b"\2")], "bad block"),
    ("another sector size", [(12, struct.pack("<I", 4096))], "nothing"),
    ("another volume", [(16, b"\0")], "nothing"),
    ("the last generation", [(32, b"\xff" * 8)], "entry, worn"),
    ("a boundary at the end of the data", [(40, struct.pack("<Q", 1536))], "entry"),
    ("a boundary behind the data", [(40, struct.pack("<Q", 1537))], "bad block"),
    ("a zone that leaves the data", [(48, struct.pack("<Q", 1532))], "bad block"),
    ("a zone whose end overflows", [(48, b"\xff" * 8)], "bad block"),
    ("a zone longer than the slot", [(56, struct.pack("<Q", 7489))], "nothing"),
    ("a zone whose bytes overflow", [(56, struct.pack("<Q", 1 << 61))], "nothing"),
    ("a zone of 2^64 - 1", [(56, b"\xff" * 8)], "nothing"),
    ("another volume size", [(64, struct.pack("<Q", 2049))], "conflict"),
    ("a flag of 2 at the error", [(89, b"\2")], "bad block"),
    ("the most salts", [(90, b"\x0f")], "entry"),
    ("too many salts", [(90, b"\x10")], "bad block"),
    ("no salts", [(90, b"\0")], "conflict"),
    ("another salt", [(176, b"\x99")], "conflict"),
    ("a flag of 2 at the upcoming salt", [(91, b"\2")], "bad block"),
    ("the most damaged sectors", [(92, b"\x40\0")], "entry"),
    ("too many damaged sectors", [(92, b"\x41\0")], "bad block"),
    ("65535 damaged sectors", [(92, b"\xff\xff")], "bad block"),
    ("a damaged sector behind the data", [(92, b"\1\0"), (512, struct.pack("<Q", 1536))], "bad block"),
    ("bytes after the counts", [(94, b"\1")], "bad block"),
    ("other replica places", [(96, b"\0")], "conflict"),
    ("another block header", [(128, b"\0")], "bad block"),
    ("the first reserved byte", [(416, b"\1")], "bad block"),
    ("the last reserved byte", [(479, b"\1")], "bad block"),
    ("bytes behind the last digest", [(1576, b"\1")], "entry"),
]


def main():
    for v in RECORDS:
        v["bytes"] = bytes(record(v)).hex()
        v["slot"] = (v["generation"] - 1) % 2
        v["lbas"], v["slot_sectors"] = slot_lbas(v, v["slot"])
        v["block_lbas"] = lbas(v)
    altered = []
    for name, changes, answer in ALTERED:
        out = record(RECORDS[0])
        for at, value in changes:
            out[at:at + len(value)] = value
        mac = bytes(seal(out)[480:512]).hex()
        patch = [[at, value.hex()] for at, value in changes]
        altered.append(dict(name=name, patch=patch, mac=mac, answer=answer))
    keys = dict(vmk=VMK.hex(), volume_id=VOLUME_ID.hex(), mac_key=MAC_KEY.hex(), digest_key=DIGEST_KEY.hex())
    sectors = [(0, 512), (1, 512), (0, 4096), (MASK >> 10, 4096)]
    digests = [dict(sector=n, size=size, digest=f"0x{digest(n, ciphertext(1, size)):016x}") for n, size in sectors]
    print(json.dumps(dict(keys=keys, digests=digests, records=RECORDS, altered=altered), indent=1))


main()
