//! What a stream keeps in memory, by part.

/// Bytes a stream holds, by the part that holds them. What is shared with other streams is counted for each of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HeldBytes {
    /// Media the source has read ahead, or received and not handed over yet.
    pub read_ahead: u64,
    /// What waits for an encoder, and pictures that an encoder has taken and not given back. What else an encoder needs is not told by
    /// libav.
    pub encoder: u64,
    /// Tags kept for all outputs.
    pub ring: u64,
    /// What outputs keep of their own: recordings that wait for the disk, tags on their way to other streams.
    pub outputs: u64,
    /// Send buffers of the kernel: bytes that peers have not acknowledged. Only Linux tells.
    pub kernel: u64,
}

impl HeldBytes {
    /// All of it.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.read_ahead + self.encoder + self.ring + self.outputs + self.kernel
    }
}

impl std::ops::AddAssign for HeldBytes {
    fn add_assign(&mut self, other: Self) {
        self.read_ahead += other.read_ahead;
        self.encoder += other.encoder;
        self.ring += other.ring;
        self.outputs += other.outputs;
        self.kernel += other.kernel;
    }
}
