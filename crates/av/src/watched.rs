//! A reader that checks the guard of its handle before every read, so that checks before libav end when libav would.
//!
//! In: a reader and a guard. Out: the bytes, or an error once the deadline has passed or the handle was cancelled; the caller gets
//! the reason from the guard. On the thread that opens.

use std::io::{self, Read, Seek, SeekFrom};

use crate::sys::Guard;

pub(crate) struct Watched<'a, R> {
    source: R,
    guard: &'a Guard,
}

impl<'a, R> Watched<'a, R> {
    pub(crate) const fn new(source: R, guard: &'a Guard) -> Self {
        Self { source, guard }
    }

    fn ask(&self) -> io::Result<()> {
        if self.guard.reason().is_some() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.ask()?;
        self.source.read(buffer)
    }
}

impl<R: Seek> Seek for Watched<'_, R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.ask()?;
        self.source.seek(to)
    }
}

/// A file that is never written: a head, then the same bytes again and again.
#[cfg(test)]
pub(crate) struct Endless<'a> {
    pub(crate) head: Vec<u8>,
    pub(crate) then: Vec<u8>,
    pub(crate) size: u64,
    pub(crate) at: u64,
    /// Bytes that were read.
    pub(crate) read: &'a std::cell::Cell<u64>,
    /// Cancels this after this many.
    pub(crate) cancel: Option<(u64, crate::Interrupt)>,
}

#[cfg(test)]
impl Read for Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut length = 0;
        for byte in buffer.iter_mut() {
            if self.at >= self.size {
                break;
            }
            let at = usize::try_from(self.at).map_err(io::Error::other)?;
            *byte = match self.head.get(at) {
                Some(byte) => *byte,
                None => self.then[(at - self.head.len()) % self.then.len()],
            };
            self.at += 1;
            length += 1;
        }
        self.read.set(self.read.get() + length);
        if let Some((after, interrupt)) = &self.cancel
            && self.read.get() >= *after
        {
            interrupt.cancel();
        }
        usize::try_from(length).map_err(io::Error::other)
    }
}

#[cfg(test)]
impl Seek for Endless<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::time::Instant;

    use super::*;
    use crate::{InputLimits, Interrupt, mp4_tables, tag_count};

    /// A moov without an end of empty boxes, and Matroska tags of 64 MiB without a tag.
    fn files() -> [(&'static str, Vec<u8>, Vec<u8>); 2] {
        let moov = [&[0, 0, 0, 1][..], b"moov", &(8_u64 << 30).to_be_bytes()].concat();
        let tags = [
            &[0x1A, 0x45, 0xDF, 0xA3, 0x80, 0x18, 0x53, 0x80, 0x67, 0x01][..],
            &[0xFF; 7],
            &[0x12, 0x54, 0xC3, 0x67, 0x08, 0xFF, 0xFF, 0xFF, 0xFF],
        ]
        .concat();
        [("MP4", moov, b"\0\0\0\x08free".to_vec()), ("Matroska", tags, vec![0])]
    }

    fn bytes_read(interrupt: &Interrupt, cancel: Option<u64>) -> Vec<(&'static str, u64)> {
        let limits = InputLimits::default();
        let look = |(name, head, then): (_, Vec<u8>, Vec<u8>)| {
            let interrupt = if cancel.is_some() { Interrupt::new() } else { interrupt.clone() };
            let guard = Guard::new(&interrupt);
            let read = Cell::new(0);
            let cancel = cancel.map(|after| (after, interrupt));
            let file = Endless { head, then, size: 8 << 30, at: 0, read: &read, cancel };
            let file = Watched::new(file, &guard);
            let result = match name {
                "MP4" => mp4_tables::check(file, &limits),
                _ => tag_count::check(file, &limits),
            };
            assert_eq!(result, Ok(()), "{name}");
            (name, read.get())
        };
        files().into_iter().map(look).collect()
    }

    #[test]
    fn a_deadline_that_has_passed_ends_the_look_at_a_file() {
        let interrupt = Interrupt::new();
        interrupt.set_deadline(Some(Instant::now()));
        assert_eq!(bytes_read(&interrupt, None), [("MP4", 0), ("Matroska", 0)]);
    }

    #[test]
    fn a_cancel_ends_the_look_at_a_file() {
        for (name, read) in bytes_read(&Interrupt::new(), Some(100_000)) {
            assert!((100_000..120_000).contains(&read), "{name}: {read}");
        }
    }
}
