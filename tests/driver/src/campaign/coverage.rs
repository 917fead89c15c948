//! What a campaign has reached, counted from outside the driver.

use std::fmt;

macro_rules! counters {
    ($($(#[doc = $doc:literal])+ $name:ident: $title:literal),+ $(,)?) => {
        /// Counters of one seed, or of many.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Coverage { $($(#[doc = $doc])+ pub $name: u64),+ }

        impl Coverage {
            /// Titles and values, in the order of the table.
            #[must_use]
            pub fn rows(&self) -> Vec<(&'static str, u64)> {
                vec![$(($title, self.$name)),+]
            }

            /// Adds another run's counters.
            pub fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counters! {
    /// Requests, commands and events.
    operations: "operations",
    /// Reads that brought ciphertext from the device only.
    reads_below: "reads below the boundary",
    /// Reads that brought plaintext from the device only.
    reads_above: "reads above the boundary",
    /// Writes that reached the device as ciphertext only.
    writes_below: "writes below the boundary",
    /// Writes that reached the device as plaintext only.
    writes_above: "writes above the boundary",
    /// Reads with ciphertext in front and plaintext behind.
    split_reads: "reads split by the boundary",
    /// Writes with ciphertext in front and plaintext behind.
    split_writes: "writes split by the boundary",
    /// Requests that touch more than one bucket of the range gate.
    across_buckets: "requests across a 1 MiB edge",
    /// Requests that waited for a zone, as the driver reports when it releases the volume.
    gate_waits: "requests that waited for a zone",
    /// Requests that came back as cancelled.
    cancels: "cancels honoured",
    /// Successful reads below the boundary of at most 16 KiB, which the completion routine decrypts.
    inline_decrypts: "reads decrypted at completion",
    /// Larger ones, which a worker decrypts.
    worker_decrypts: "reads decrypted by a worker",
    /// Requests that a worker sent down.
    worker_dispatches: "requests sent by a worker",
    /// Pieces that the reserve's thread sent down.
    reserve_pieces: "pieces served from the reserve",
    /// Requests that are not whole sectors.
    misaligned: "misaligned requests refused",
    /// Requests that leave the data region.
    out_of_range: "out-of-range requests refused",
    /// Paging requests that reached the device.
    paging: "paging requests",
    /// Prepares while programs had the volume open.
    live_prepares: "prepares of a volume in use",
    /// Prepares without a key, completed by an attach.
    provisional: "prepares without a key",
    /// Keys that were refused.
    wrong_keys: "wrong keys refused",
    /// Prepares of a volume that is attached already, or has metadata already.
    second_prepares: "second prepares refused",
    /// Detaches that succeeded.
    detaches: "detaches",
    /// Detaches refused because of open files.
    detaches_refused: "detaches refused: in use",
    /// Successful attaches of a volume that has metadata.
    reattaches: "re-attaches",
    /// Pauses of a running conversion.
    pauses: "pauses of a running conversion",
    /// Starts in the other direction while a conversion was running.
    turns: "direction changes",
    /// Conversions that reached full encryption.
    encrypted: "conversions completed to ciphertext",
    /// Conversions that reached no encryption.
    decrypted: "conversions completed to plaintext",
    /// `QUERY_REMOVE` taken back.
    query_cancels: "QUERY_REMOVE and CANCEL",
    /// `QUERY_REMOVE` refused because of open files.
    queries_refused: "QUERY_REMOVE refused: in use",
    /// STOP and START.
    restarts: "STOP and START",
    /// Removals after a question.
    removals: "orderly removals",
    /// Removals, of either kind, with requests under way.
    removals_pending: "removals with requests pending",
    /// Removals without warning.
    surprises: "surprise removals",
    /// Power cuts after a clean stop.
    reboots: "shutdown, power cut, reboot",
    /// Allocations that were refused.
    low_memory: "allocations refused",
    /// Bursts of very slow requests.
    spikes: "bursts of very slow requests",
    /// Requests and commands that failed because the device did.
    device_errors: "failures passed on from the device",
}

impl Coverage {
    /// Titles of the counters that nothing has reached.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.rows().into_iter().filter(|(_, count)| *count == 0).map(|(title, _)| title).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows().into_iter().try_for_each(|(title, count)| writeln!(f, "  {title:<38} {count:>12}"))
    }
}
