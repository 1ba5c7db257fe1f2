//! Tags put together for many sessions.
//!
//! Sessions that stand at the same place of the ring get the same bytes. The first of them that asks is sent them tag by
//! tag; if a second one asks, they are copied together once, and it and all others send that one piece.

use flowcast_rtmp::chunk::{SharedBatch, SharedMessage};
use flowcast_rtmp::flv::data;
use flowcast_rtmp::time::MediaTime;

use super::Entry;
use crate::ring::is_alike;

/// Bytes put together at most, unless the first tag alone is larger.
const LIMIT: usize = 128 << 10;
/// Places where sessions stand in one turn that are remembered; at others tags are sent one by one.
const PLACES: usize = 8;

/// Some tags in a row as one piece.
#[derive(Debug)]
pub struct Together {
    /// The bytes.
    pub batch: SharedBatch,
    /// The number after that of the last tag.
    pub end: u64,
    /// The time of the first tag.
    pub oldest: MediaTime,
    /// Of video and of audio: another track than the first that was left out.
    pub(crate) left_out: [Option<u8>; 2],
}

/// What was asked for in this turn.
#[derive(Debug, Default)]
pub(super) struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    from: u64,
    all_tracks: bool,
    together: Made,
}

#[derive(Debug)]
enum Made {
    /// One session asked.
    Once,
    Yes(Together),
    /// There is a tag that cannot be shared.
    Cannot,
}

impl Places {
    /// The tags from the first of `entries` on, if more than one session asked for them.
    pub(super) fn at<'a>(
        &mut self,
        from: u64,
        all_tracks: bool,
        entries: impl FnOnce() -> (&'a [Entry], &'a [Entry]),
    ) -> Option<&Together> {
        let is_it = |place: &Place| place.from == from && place.all_tracks == all_tracks;
        let Some(index) = self.0.iter().rposition(is_it) else {
            if self.0.len() < PLACES {
                self.0.push(Place { from, all_tracks, together: Made::Once });
            }
            return None;
        };
        let place = self.0.get_mut(index)?;
        if matches!(place.together, Made::Once) {
            place.together = make(from, all_tracks, entries()).map_or(Made::Cannot, Made::Yes);
        }
        match &place.together {
            Made::Yes(together) => Some(together),
            _ => None,
        }
    }

    /// Lets go of everything.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}

/// What every session is sent alike, of all tracks or of the first of each kind. Where the first tag is not, nothing is copied.
fn make(from: u64, all_tracks: bool, (front, back): (&[Entry], &[Entry])) -> Option<Together> {
    let in_a_row =
        (from..).zip(front.iter().chain(back)).take_while(|(number, entry)| entry.number == *number);
    let tags = in_a_row.map(|(_, entry)| &entry.message);
    let is_left_out =
        |message: &SharedMessage| data::is_data(message.tag()) || (!all_tracks && message.tag().track() != 0);
    let messages =
        tags.clone().filter(|message| !is_left_out(message)).take_while(|message| is_alike(message.tag()));
    let oldest = messages.clone().next()?.tag().timestamp;
    let (batch, count) = SharedBatch::collect(messages, LIMIT)?;
    let (mut collected, mut end, mut left_out) = (0, from, [None, None]);
    for message in tags {
        if is_left_out(message) {
            let [video, audio] = &mut left_out;
            let tag = message.tag();
            if !tag.is_script() {
                (if tag.is_audio() { audio } else { video }).get_or_insert(tag.track());
            }
        } else if collected < count {
            collected += 1;
        } else {
            break;
        }
        end += 1;
    }
    Some(Together { batch, end, oldest, left_out })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::{Tag, TagKind};

    use crate::config::BacklogConfig;
    use crate::ring::Ring;

    use super::*;

    fn ring(bodies: &[(TagKind, i64, &'static [u8])]) -> Ring {
        let mut ring = Ring::new(BacklogConfig::default(), true);
        for &(kind, millis, body) in bodies {
            ring.push(Tag::from_wire(kind, MediaTime::from_millis(millis), Bytes::from_static(body)));
        }
        ring
    }

    /// Where a batch from `from` on ends, and how many audio and video tracks it leaves out.
    fn end(ring: &Ring, from: u64, all_tracks: bool) -> Option<(u64, usize)> {
        let ask = || {
            ring.read_together(from, all_tracks, |tags| (tags.end, tags.left_out.iter().flatten().count()))
        };
        assert_eq!(ask(), None, "the first one that asks is sent tag by tag");
        ask()
    }

    const KEY: &[u8] = b"\x17\x01\0\0\0key";
    const SECOND: &[u8] = b"\x96\x01avc1\x01\0\0\0key";
    const SOUND: &[u8] = b"\xaf\x01frame";

    #[test]
    fn a_second_track_is_left_out_of_what_is_put_together() {
        let mut tags = Vec::new();
        for n in 0..10 {
            tags.push((TagKind::Video, n * 40, KEY));
            // At another time than the first one.
            tags.push((TagKind::Video, n * 40 + 7, SECOND));
            tags.push((TagKind::Audio, n * 40, SOUND));
        }
        let ring = ring(&tags);
        assert_eq!(end(&ring, 3, false), Some((30, 1)));
        // From a tag on that is left out, too; and nothing is made where there is no other.
        assert_eq!(end(&ring, 4, false), Some((30, 1)));
        assert_eq!(end(&ring, 28, true), Some((30, 0)));
    }

    #[test]
    fn nothing_is_copied_that_each_session_is_sent_in_its_own_form() {
        let rare = ring(&[
            (TagKind::Audio, 0, SOUND),
            (TagKind::Video, 0, b"\x1c\x01\0\0\0key"),
            (TagKind::Audio, 23, SOUND),
            (TagKind::Video, 40, b"\x1c\x01\0\0\0key"),
        ]);
        assert_eq!(end(&rare, 3, false), None);
        assert_eq!(end(&rare, 2, false), Some((3, 0)), "up to it");
        let second = ring(&[(TagKind::Video, 0, KEY), (TagKind::Video, 0, SECOND)]);
        assert_eq!(end(&second, 1, false), None);
        assert_eq!(end(&second, 1, true), Some((2, 0)));
    }
}
