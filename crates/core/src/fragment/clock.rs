//! When a segment of a fragmented MP4 begins, by the clock of who made it (ISO/IEC 14496-12, sections 8.4.2, 8.8.7 and 8.8.12).
//!
//! In: an init segment, and the `moof` box a segment begins with. Out: a stamp that is compared with that of another segment. On the thread that
//! pushes.

use bytes::Bytes;

/// Boxes that are looked at side by side.
const MOST_BOXES: usize = 64;

/// When a segment begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// The init segment it belongs to: others have another clock.
    init: Bytes,
    /// It came without its init segment: it goes on from another one.
    goes_on: bool,
    ticks: i64,
    timescale: u32,
}

impl Stamp {
    /// The decoding time of the first picture of `moof`, which `init` describes; of the first sound, where there is no picture. `None` if it does
    /// not say.
    pub(super) fn of(init: &Bytes, moof: &[u8], goes_on: bool) -> Option<Self> {
        let (track, timescale) = track(init)?;
        let mut begins = boxes(moof).filter(|(kind, _)| kind == b"traf").map(|(_, traf)| begin(traf));
        let ticks = begins.find_map(|begin| begin.filter(|(of, _)| *of == track).map(|(_, ticks)| ticks))?;
        Some(Self { init: init.clone(), goes_on, ticks, timescale })
    }

    /// How long after `before` it begins, in ticks of the [timescale](Self::timescale); `None` if it does not go on from the same clock.
    pub(crate) fn since(&self, before: &Self) -> Option<i64> {
        (self.goes_on && self.init == before.init).then(|| self.ticks.saturating_sub(before.ticks))
    }

    /// Ticks of a second.
    pub(crate) fn timescale(&self) -> u32 {
        self.timescale
    }
}

/// The boxes that lie in another one, their types and what is in them; up to the first that is damaged.
fn boxes(mut rest: &[u8]) -> impl Iterator<Item = ([u8; 4], &[u8])> {
    let next = move || {
        let (short, kind) = (u32_at(rest, 0)?, *rest.get(4..)?.first_chunk::<4>()?);
        let (head, size) = match short {
            0 => (8, rest.len()),
            1 => (16, usize::try_from(u64_at(rest, 8)?).ok()?),
            short => (8, usize::try_from(short).ok()?),
        };
        let body = rest.get(head..size)?;
        rest = rest.get(size..)?;
        Some((kind, body))
    };
    std::iter::from_fn(next).take(MOST_BOXES)
}

fn child<'a>(parent: &'a [u8], wanted: &[u8; 4]) -> Option<&'a [u8]> {
    boxes(parent).find(|(kind, _)| kind == wanted).map(|(_, body)| body)
}

/// The number and the timescale of the first track with pictures of an init segment, or else of its first one.
fn track(init: &[u8]) -> Option<(u32, u32)> {
    let moov = child(init, b"moov")?;
    let tracks = boxes(moov).filter(|(kind, _)| kind == b"trak").filter_map(|(_, trak)| {
        let (header, media) = (child(trak, b"tkhd")?, child(trak, b"mdia")?);
        let (times, handler) = (child(media, b"mdhd")?, child(media, b"hdlr")?);
        // Behind two times, which have 64 bits from version 1 on.
        let number = u32_at(header, if is_long(header) { 20 } else { 12 })?;
        let timescale = u32_at(times, if is_long(times) { 20 } else { 12 })?;
        Some((number, timescale, handler.get(8..12)? == b"vide"))
    });
    let tracks: Vec<_> = tracks.filter(|(_, timescale, _)| *timescale > 0).collect();
    let first = tracks.iter().find(|(.., shows)| *shows).or(tracks.first())?;
    Some((first.0, first.1))
}

/// Which track a `traf` box is of, and when it begins.
fn begin(traf: &[u8]) -> Option<(u32, i64)> {
    let (header, time) = (child(traf, b"tfhd")?, child(traf, b"tfdt")?);
    let ticks = if is_long(time) { u64_at(time, 4)? } else { u64::from(u32_at(time, 4)?) };
    Some((u32_at(header, 4)?, i64::try_from(ticks).ok()?))
}

/// Whether the times of a full box have 64 bits.
fn is_long(full: &[u8]) -> bool {
    full.first().is_some_and(|version| *version > 0)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

#[cfg(test)]
mod tests {
    use super::super::boxes::made as of;
    use super::*;

    /// A full box whose times have 64 bits or 32, `number` behind two of them.
    fn full(kind: &[u8; 4], is_long: bool, number: u32) -> Vec<u8> {
        let times = if is_long { 16 } else { 8 };
        let body = [&[u8::from(is_long), 0, 0, 0][..], &vec![9; times], &number.to_be_bytes(), &[0; 8]];
        of(kind, &body.concat())
    }

    fn trak(number: u32, timescale: u32, handler: &[u8; 4], is_long: bool) -> Vec<u8> {
        let handler = of(b"hdlr", &[&[0; 8][..], handler, &[0; 12]].concat());
        let media = of(b"mdia", &[full(b"mdhd", is_long, timescale), handler].concat());
        of(b"trak", &[full(b"tkhd", is_long, number), media].concat())
    }

    fn init(is_long: bool) -> Bytes {
        let tracks = [trak(1, 44_100, b"soun", is_long), trak(2, 12_800, b"vide", is_long)].concat();
        [of(b"ftyp", b"isom"), of(b"moov", &tracks)].concat().into()
    }

    fn traf(track: u32, time: Option<u64>) -> Vec<u8> {
        let header = of(b"tfhd", &[[0; 4], track.to_be_bytes()].concat());
        let time = time.map(|time| match u32::try_from(time) {
            Ok(short) => of(b"tfdt", &[[0; 4], short.to_be_bytes()].concat()),
            Err(_) => of(b"tfdt", &[&[1, 0, 0, 0][..], &time.to_be_bytes()].concat()),
        });
        of(b"traf", &[header, time.unwrap_or_default()].concat())
    }

    #[test]
    fn a_segment_begins_with_its_first_picture_by_the_clock_of_its_init_segment() {
        for is_long in [false, true] {
            let init = init(is_long);
            let stamp = |video, goes_on| {
                Stamp::of(&init, &[traf(1, Some(7)), traf(2, Some(video))].concat(), goes_on)
                    .expect("it says")
            };
            let (first, second, far) = (stamp(0, false), stamp(12_800, true), stamp(1 << 40, true));
            assert_eq!((second.timescale(), second.since(&first)), (12_800, Some(12_800)));
            assert_eq!((far.since(&first), first.since(&second)), (Some(1 << 40), None));
            assert_eq!(Stamp::of(&init, &traf(1, Some(7)), true), None, "it has no picture");
            assert_eq!(Stamp::of(&init, &traf(2, None), true), None, "it does not say");
            let other = Stamp::of(&[&init[..], &of(b"free", b"")].concat().into(), &traf(2, Some(5)), true);
            assert_eq!(second.since(&other.expect("it says")), None, "another clock");
        }
        let sound: Bytes = of(b"moov", &trak(3, 48_000, b"soun", false)).into();
        let stamp = Stamp::of(&sound, &traf(3, Some(1024)), true).expect("it says");
        assert_eq!((stamp.ticks, stamp.timescale), (1024, 48_000));
    }

    #[test]
    fn nothing_that_is_cut_off_or_garbled_is_a_fault_of_the_stamp() {
        let (init, moof) = (init(true), [traf(1, Some(1 << 40)), traf(2, Some(7))].concat());
        for length in 0..init.len().max(moof.len()) {
            let cut = |bytes: &[u8]| Bytes::copy_from_slice(bytes.get(..length).unwrap_or(bytes));
            let _ = Stamp::of(&cut(&init), &cut(&moof), true);
            for byte in [0, 1, 7, 0x20, 0x80, 0xff] {
                let garble = |bytes: &[u8]| {
                    let mut garbled = bytes.to_vec();
                    garbled.get_mut(length).into_iter().for_each(|at| *at = byte);
                    Bytes::from(garbled)
                };
                let _ = (Stamp::of(&garble(&init), &moof, true), Stamp::of(&init, &garble(&moof), true));
            }
        }
    }
}
