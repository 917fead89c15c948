//! What the kernels with wide registers write alike.

/// One round of eight registers of blocks, `b0` to `b7`; `$broadcast` fills the register `key` with round key number `$key`. Left to
/// itself the compiler puts the rounds of one block after those of another, and each waits for the latency of fourteen rounds.
#[rustfmt::skip]
macro_rules! wide_round {
    ($broadcast:literal, $aes:literal, $key:literal) => {
        concat!(
            $broadcast, " {key}, [{keys} + 16 * ", $key, "]\n",
            $aes, " {b0}, {b0}, {key}\n", $aes, " {b1}, {b1}, {key}\n",
            $aes, " {b2}, {b2}, {key}\n", $aes, " {b3}, {b3}, {key}\n",
            $aes, " {b4}, {b4}, {key}\n", $aes, " {b5}, {b5}, {key}\n",
            $aes, " {b6}, {b6}, {key}\n", $aes, " {b7}, {b7}, {key}\n",
        )
    };
}
