//! Boxes, the parts that MP4 files consist of: ISO/IEC 14496-12 section 4.2. On the writer's thread.

/// Bytes of boxes.
#[derive(Debug, Default)]
pub(in crate::output) struct Boxes(Vec<u8>);

impl Boxes {
    pub(in crate::output) fn new() -> Self {
        Self::default()
    }

    /// A box, with what `fill` puts into it.
    pub(in crate::output) fn nest(&mut self, kind: &[u8; 4], fill: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.0.len();
        self.u32(0).bytes(kind);
        fill(self);
        let size = u32::try_from(self.0.len() - start).unwrap_or(u32::MAX);
        self.set_u32(start, size);
        self
    }

    /// A box with a version and flags.
    pub(in crate::output) fn full(
        &mut self,
        kind: &[u8; 4],
        version: u8,
        flags: u32,
        fill: impl FnOnce(&mut Self),
    ) -> &mut Self {
        self.nest(kind, |boxes| {
            boxes.u32(u32::from(version) << 24 | flags);
            fill(boxes);
        })
    }

    pub(in crate::output) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(in crate::output) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(in crate::output) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(in crate::output) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(in crate::output) fn i32(&mut self, value: i32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(in crate::output) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(in crate::output) fn zeros(&mut self, count: usize) -> &mut Self {
        self.0.resize(self.0.len() + count, 0);
        self
    }

    /// Where the next byte goes.
    pub(in crate::output) fn len(&self) -> usize {
        self.0.len()
    }

    /// Writes over four bytes.
    pub(in crate::output) fn set_u32(&mut self, at: usize, value: u32) {
        if let Some(place) = self.0.get_mut(at..at + 4) {
            place.copy_from_slice(&value.to_be_bytes());
        }
    }

    pub(in crate::output) fn into_vec(self) -> Vec<u8> {
        self.0
    }

    pub(in crate::output) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}
