//! An MP4 that is read as it comes: the tables of each part are looked at before libav reads them.
//!
//! In: a reader at the beginning of a box. Out: the same bytes; a `moov` or `moof` box only once it was counted by [`mp4_tables`]. On the
//! thread that reads.

use std::io::{self, Cursor, Read};
use std::sync::Arc;

use crate::limits::InputLimits;
use crate::mp4_tables;
use crate::sys::Guard;

/// Bytes of a `moov` or `moof` box at most: one of 16 MiB describes a day of fragments.
const MOST: u64 = 16 << 20;

pub(crate) struct CheckedBoxes<R> {
    inner: R,
    limits: InputLimits,
    guard: Arc<Guard>,
    /// What was read ahead, and how much of it was handed on.
    ready: Cursor<Vec<u8>>,
    /// Bytes of the box that are handed on as they are.
    left: u64,
    /// A `moov` was seen.
    described: bool,
}

impl<R: Read> CheckedBoxes<R> {
    pub(crate) fn new(inner: R, limits: InputLimits, guard: Arc<Guard>) -> Self {
        Self { inner, limits, guard, ready: Cursor::default(), left: 0, described: false }
    }

    /// Reads the next header, and what has to be counted.
    fn next_box(&mut self) -> io::Result<()> {
        let invalid = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
        let mut bytes = Vec::with_capacity(16);
        (&mut self.inner).take(8).read_to_end(&mut bytes)?;
        let [a, b, c, d, k, i, n, e] = bytes[..] else {
            self.ready = Cursor::new(bytes);
            return Ok(());
        };
        let size = match u32::from_be_bytes([a, b, c, d]) {
            0 => u64::MAX,
            1 => {
                (&mut self.inner).take(8).read_to_end(&mut bytes)?;
                let long = bytes.get(8..16).and_then(|long| long.try_into().ok());
                u64::from_be_bytes(long.ok_or_else(|| invalid("a box is cut off"))?)
            }
            size => u64::from(size),
        };
        let body = size.checked_sub(bytes.len() as u64).ok_or_else(|| invalid("a box is too small"))?;
        let kind = &[k, i, n, e];
        match kind {
            b"moov" | b"moof" => {
                if body > MOST {
                    return Err(invalid("a moov or moof box is too large"));
                }
                self.described |= kind == b"moov";
                (&mut self.inner).take(body).read_to_end(&mut bytes)?;
                let (part, limits) = (Cursor::new(&bytes), &self.limits);
                let counted = match kind {
                    b"moof" => mp4_tables::check_fragment(part, limits),
                    _ => mp4_tables::check(part, limits),
                };
                if let Err(exceeded) = counted {
                    self.guard.set_exceeded(Some(exceeded));
                    return Err(invalid("more than is allowed"));
                }
            }
            b"mdat" if !self.described => {
                return Err(invalid("the moov box does not come first"));
            }
            _ => self.left = body,
        }
        self.ready = Cursor::new(bytes);
        Ok(())
    }
}

impl<R: Read> Read for CheckedBoxes<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let count = self.ready.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            if self.left > 0 {
                let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
                let count = self.inner.read(buffer.get_mut(..most).unwrap_or_default())?;
                self.left -= count as u64;
                return Ok(count);
            }
            self.next_box()?;
            if self.ready.get_ref().is_empty() {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test may panic")]

    use super::*;
    use crate::Interrupt;

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = u32::try_from(body.len() + 8).unwrap();
        [&size.to_be_bytes()[..], kind, body].concat()
    }

    fn read(bytes: &[u8]) -> (io::Result<Vec<u8>>, bool) {
        let guard = Arc::new(Guard::new(&Interrupt::new()));
        let mut checked = CheckedBoxes::new(bytes, InputLimits::default(), Arc::clone(&guard));
        let mut out = Vec::new();
        (checked.read_to_end(&mut out).map(|_| out), guard.exceeded().is_some())
    }

    /// A fragment with this many samples that take no bytes in its table.
    fn fragment(samples: u32) -> Vec<u8> {
        let run = boxed(b"trun", &[&[0, 0, 0, 0][..], &samples.to_be_bytes()].concat());
        let header = boxed(b"tfhd", &[0, 0, 0, 0, 0, 0, 0, 1]);
        boxed(b"moof", &boxed(b"traf", &[header, run].concat()))
    }

    #[test]
    fn what_is_in_order_passes_unchanged() {
        let whole =
            [boxed(b"ftyp", b"isom"), boxed(b"moov", b""), fragment(3), boxed(b"mdat", &[7; 9000])].concat();
        assert_eq!(read(&whole).0.unwrap(), whole);
        // Cut off anywhere, it ends there.
        for end in [3, 10, 20, whole.len() - 1] {
            let passed = read(&whole[..end]).0.unwrap();
            assert_eq!(passed, &whole[..end]);
        }
    }

    #[test]
    fn tables_that_announce_too_much_do_not_reach_libav() {
        let start = [boxed(b"ftyp", b"isom"), boxed(b"moov", b"")].concat();
        let (result, exceeded) = read(&[start.clone(), fragment(u32::MAX)].concat());
        assert!(result.is_err() && exceeded, "{result:?}");
        let huge = [&[2, 0, 0, 0][..], b"moof"].concat();
        assert!(read(&[start, huge].concat()).0.is_err());
        assert!(read(&boxed(b"mdat", b"")).0.is_err(), "nothing says what is in it");
    }
}
