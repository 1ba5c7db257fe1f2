//! Where each sample of a track is and how long it lasts, as few bytes as it takes, until the index is written.
//!
//! In: samples that are in the file. Out: the tables of `stbl`, ISO/IEC 14496-12 sections 8.6 and 8.7. On the writer's thread.

use super::boxes::Boxes;

/// One sample as the tables have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Row {
    /// Bytes.
    pub(super) size: u32,
    /// Ticks up to the next sample.
    pub(super) duration: u32,
    /// Ticks from decoding to showing.
    pub(super) composition: i32,
    pub(super) is_key: bool,
}

/// All samples of a track.
#[derive(Debug, Default)]
pub(super) struct Table {
    /// When the first sample is decoded, in ticks.
    pub(super) start: i64,
    /// Rows, in bytes of seven bits each: size, duration with whether it is a keyframe, composition time.
    packed: Vec<u8>,
    rows: u32,
    /// Ticks of all samples.
    pub(super) duration: u64,
    /// When the first picture is shown, in ticks from the decoding of the first sample.
    pub(super) first_shown: i64,
    /// When the last one has been shown: that may be after the end of decoding.
    last_shown: i64,
    /// Runs of samples that lie one behind the other: where, and how many.
    chunks: Vec<(u64, u32)>,
    keys: u32,
    has_composition: bool,
    has_negative: bool,
}

impl Table {
    /// Notes samples that lie one behind the other from `offset` on, the first of which is decoded at `tick`.
    pub(super) fn note(&mut self, offset: u64, tick: i64, rows: impl Iterator<Item = Row>) {
        if self.rows == 0 {
            (self.start, self.first_shown) = (tick, i64::MAX);
        }
        let before = self.rows;
        for row in rows {
            let shown = i64::try_from(self.duration).unwrap_or(i64::MAX) + i64::from(row.composition);
            self.first_shown = self.first_shown.min(shown);
            self.last_shown = self.last_shown.max(shown + i64::from(row.duration));
            self.put(u64::from(row.size));
            self.put(u64::from(row.duration) << 1 | u64::from(row.is_key));
            let composition = i64::from(row.composition);
            self.put((composition << 1 ^ composition >> 63).cast_unsigned());
            self.rows += 1;
            self.keys += u32::from(row.is_key);
            self.duration += u64::from(row.duration);
            self.has_composition |= row.composition != 0;
            self.has_negative |= row.composition < 0;
        }
        if self.rows > before {
            self.chunks.push((offset, self.rows - before));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Ticks for which something is shown.
    pub(super) fn shown(&self) -> u64 {
        u64::try_from(self.last_shown - self.first_shown).unwrap_or(0)
    }

    /// Bytes that it holds in memory.
    pub(super) fn bytes(&self) -> usize {
        self.packed.len() + self.chunks.len() * size_of::<(u64, u32)>()
    }

    fn put(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.packed.push(0x80 | (value & 0x7F) as u8);
            value >>= 7;
        }
        self.packed.push(value as u8);
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row> + '_ {
        let mut rest = self.packed.iter();
        let mut number = move || {
            let mut value = 0;
            for shift in (0..).step_by(7) {
                let byte = *rest.next()?;
                value |= u64::from(byte & 0x7F) << shift;
                if byte & 0x80 == 0 {
                    break;
                }
            }
            Some(value)
        };
        std::iter::from_fn(move || {
            let (size, duration, composition) = (number()?, number()?, number()?);
            let composition = (composition >> 1).cast_signed() ^ -((composition & 1).cast_signed());
            Some(Row {
                size: u32::try_from(size).unwrap_or(u32::MAX),
                duration: u32::try_from(duration >> 1).unwrap_or(u32::MAX),
                composition: i32::try_from(composition).unwrap_or(0),
                is_key: duration & 1 == 1,
            })
        })
    }

    /// Writes the tables; `mark_keys`: whether it is said which samples are keyframes.
    pub(super) fn write(&self, boxes: &mut Boxes, mark_keys: bool) {
        boxes.full(b"stts", 0, 0, |boxes| {
            runs(boxes, self.rows().map(|row| row.duration.cast_signed()));
        });
        if self.has_composition {
            boxes.full(b"ctts", u8::from(self.has_negative), 0, |boxes| {
                runs(boxes, self.rows().map(|row| row.composition));
            });
        }
        if mark_keys && self.keys < self.rows {
            boxes.full(b"stss", 0, 0, |boxes| {
                boxes.u32(self.keys);
                for (number, _) in (1..).zip(self.rows()).filter(|(_, row)| row.is_key) {
                    boxes.u32(number);
                }
            });
        }
        self.write_chunks(boxes);
        boxes.full(b"stsz", 0, 0, |boxes| {
            boxes.u32(0).u32(self.rows);
            self.rows().for_each(|row| {
                boxes.u32(row.size);
            });
        });
    }

    fn write_chunks(&self, boxes: &mut Boxes) {
        boxes.full(b"stsc", 0, 0, |boxes| {
            let place = boxes.len();
            boxes.u32(0);
            let (mut entries, mut last) = (0, None);
            for (number, &(_, count)) in (1..).zip(&self.chunks) {
                if last.replace(count) != Some(count) {
                    boxes.u32(number).u32(count).u32(1);
                    entries += 1;
                }
            }
            boxes.set_u32(place, entries);
        });
        let count = u32::try_from(self.chunks.len()).unwrap_or(u32::MAX);
        let is_short = self.chunks.last().is_none_or(|&(offset, _)| u32::try_from(offset).is_ok());
        if is_short {
            boxes.full(b"stco", 0, 0, |boxes| {
                boxes.u32(count);
                self.chunks.iter().for_each(|&(offset, _)| {
                    boxes.u32(u32::try_from(offset).unwrap_or(u32::MAX));
                });
            });
        } else {
            boxes.full(b"co64", 0, 0, |boxes| {
                boxes.u32(count);
                self.chunks.iter().for_each(|&(offset, _)| {
                    boxes.u64(offset);
                });
            });
        }
    }
}

/// A table of values, each with how often it comes in a row.
fn runs(boxes: &mut Boxes, values: impl Iterator<Item = i32>) {
    let place = boxes.len();
    boxes.u32(0);
    let (mut entries, mut run) = (0, None::<(u32, i32)>);
    for value in values {
        match &mut run {
            Some((count, same)) if *same == value => *count += 1,
            _ => {
                if let Some((count, value)) = run.replace((1, value)) {
                    boxes.u32(count).i32(value);
                    entries += 1;
                }
            }
        }
    }
    if let Some((count, value)) = run {
        boxes.u32(count).i32(value);
        entries += 1;
    }
    boxes.set_u32(place, entries);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let row = |n: u32| Row {
            size: 1 << (n % 31),
            duration: if n == 77 { u32::MAX >> 1 } else { 33 + n % 2 },
            composition: [0, 80, -40, i32::MAX, i32::MIN][n as usize % 5],
            is_key: n.is_multiple_of(50),
        };
        (0..200).map(row).collect()
    }

    #[test]
    fn rows_come_back_as_they_were_noted() {
        let mut table = Table::default();
        table.note(100, 7, rows().into_iter().take(120));
        table.note(5000, 9, rows().into_iter().skip(120));
        assert!(table.rows().eq(rows()));
        assert_eq!((table.start, table.rows, table.chunks.len()), (7, 200, 2));
        assert_eq!(table.duration, rows().iter().map(|row| u64::from(row.duration)).sum::<u64>());
    }

    #[test]
    fn few_bytes_are_held_for_each_sample() {
        let mut table = Table::default();
        for second in 0..3600 {
            let row = |n: u32| Row { size: 8000 + n, duration: 17, composition: 34, is_key: n == 0 };
            table.note(second * 1_000_000, 0, (0..60).map(row));
        }
        assert!(table.bytes() < 60 * 3600 * 5, "{} bytes an hour", table.bytes());
    }

    #[test]
    fn an_offset_that_32_bits_do_not_hold_has_64() {
        for (offset, kind) in [(1 << 31, b"stco"), (1 << 32, b"co64")] {
            let mut table = Table::default();
            table.note(offset, 0, rows().into_iter().take(3));
            let mut boxes = Boxes::new();
            table.write(&mut boxes, true);
            assert!(boxes.as_slice().windows(4).any(|bytes| bytes == kind));
        }
    }
}
