//! What a decoder has to be given before a keyframe.

use flowcast_rtmp::flv::tag::{Tag, TagKind};
use flowcast_rtmp::time::MediaTime;

/// Configurations kept of one stream; publishers that send more tracks than that are received, but players that join later lack
/// some.
const MOST: usize = 16;
/// Bytes of them all.
const MOST_BYTES: usize = 4 << 20;

/// The metadata, and the configuration of each track: its sequence header and what belongs to that.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    /// In the order they are sent: metadata, video, audio; by track; the sequence header first.
    tags: Vec<Tag>,
}

/// What a header replaces.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    kind: u8,
    track: u8,
    beside: bool,
}

impl Place {
    /// `None` if the tag is no header.
    fn of(tag: &Tag) -> Option<Self> {
        let kind = match tag.kind {
            TagKind::Script => 0,
            TagKind::Video => 1,
            TagKind::Audio => 2,
        };
        tag.is_header().then(|| Self { kind, track: tag.track(), beside: tag.is_side_config() })
    }
}

impl Headers {
    /// Remembers a header in the place of the one before; `false` if it is that one, or no header at all.
    pub(crate) fn note(&mut self, tag: &Tag) -> bool {
        let Some(place) = Place::of(tag) else { return false };
        let found = self.tags.binary_search_by_key(&Some(place), Place::of);
        let replaced = found.ok().and_then(|index| self.tags.get(index));
        if replaced.is_some_and(|replaced| replaced.body == tag.body) {
            return false;
        }
        let others: usize = self.tags.iter().map(|tag| tag.body.len()).sum();
        let others = others - replaced.map_or(0, |tag| tag.body.len());
        let has_room =
            (replaced.is_some() || self.tags.len() < MOST) && others + tag.body.len() <= MOST_BYTES;
        match found {
            Ok(index) if has_room => self.tags[index] = tag.clone(),
            Ok(index) => drop(self.tags.remove(index)),
            Err(index) if has_room => self.tags.insert(index, tag.clone()),
            Err(_) => {}
        }
        true
    }

    /// Forgets the header that is equal to this one; `false` if there is none.
    pub(crate) fn take(&mut self, tag: &Tag) -> bool {
        let place = Place::of(tag);
        let found = self.tags.iter().position(|known| Place::of(known) == place && known.body == tag.body);
        found.map(|index| self.tags.remove(index)).is_some()
    }

    /// Forgets what the header `tag` would replace.
    pub(crate) fn forget(&mut self, tag: &Tag) {
        let place = Place::of(tag);
        self.tags.retain(|known| Place::of(known) != place);
    }

    /// Whether this very header is among them.
    pub(crate) fn has(&self, tag: &Tag) -> bool {
        let place = Place::of(tag);
        self.tags.iter().any(|known| Place::of(known) == place && known.body == tag.body)
    }

    /// All of them.
    pub(crate) fn tags(&self) -> impl Iterator<Item = &Tag> {
        self.tags.iter()
    }

    /// Whether there is video.
    pub(crate) fn has_video(&self) -> bool {
        self.tags.iter().any(Tag::is_video)
    }

    /// Whether `tag` is sound of a codec without a header while there are headers of the first audio track: they hold no more.
    pub(crate) fn is_outdated_by(&self, tag: &Tag) -> bool {
        tag.is_audio()
            && !tag.is_header()
            && has_no_header(tag)
            && self.tags.iter().any(|tag| tag.is_audio() && tag.track() == 0)
    }

    /// Forgets what a frame shows to hold no more.
    pub(crate) fn note_frame(&mut self, tag: &Tag) {
        if self.is_outdated_by(tag) {
            self.tags.retain(|tag| !tag.is_audio() || tag.track() != 0);
        }
    }

    /// All of them, in the order they are sent, with the time of the keyframe they precede.
    pub fn at(&self, time: MediaTime) -> impl Iterator<Item = Tag> + '_ {
        self.tags.iter().map(move |tag| Tag { timestamp: time, ..tag.clone() })
    }
}

/// Whether a frame is of a codec without a sequence header, MP3 for one: the header of another codec holds no more.
fn has_no_header(tag: &Tag) -> bool {
    /// FLV's numbers of Enhanced RTMP's audio, and of AAC.
    const WITH_HEADERS: [u8; 2] = [9, 10];
    tag.body.byte(0).is_some_and(|head| !WITH_HEADERS.contains(&(head >> 4)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const AVC: &[u8] = &[0x17, 0, 0, 0, 0, 1];
    const AAC: &[u8] = &[0xAF, 0, 0x12, 0x10];
    /// Enhanced RTMP: one track, a sequence header of HEVC.
    const SECOND: &[u8] = &[0x96, 0, b'h', b'v', b'c', b'1', 1, 7];

    fn tag(kind: TagKind, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::ZERO, Bytes::from_static(body))
    }

    fn bodies(headers: &Headers) -> Vec<Bytes> {
        headers.at(MediaTime::ZERO).map(|tag| tag.body.to_bytes()).collect()
    }

    #[test]
    fn each_track_has_its_own_and_they_come_in_order() {
        let mut headers = Headers::default();
        for (kind, body) in [(TagKind::Audio, AAC), (TagKind::Video, SECOND), (TagKind::Video, AVC)] {
            assert!(headers.note(&tag(kind, body)), "{body:?}");
            assert!(!headers.note(&tag(kind, body)), "it is known");
        }
        assert_eq!(bodies(&headers), [AVC, SECOND, AAC]);
        assert!(!headers.note(&tag(TagKind::Video, &[0x17, 1, 0, 0, 0, 1])), "a picture is no header");
        assert!(headers.take(&tag(TagKind::Video, SECOND)) && !headers.take(&tag(TagKind::Video, SECOND)));
        assert_eq!(bodies(&headers), [AVC, AAC]);
    }

    #[test]
    fn sound_without_a_header_leaves_none_behind() {
        let mut ring = crate::ring::Ring::new(crate::config::Config::default().backlog, true);
        let key = tag(TagKind::Video, &[0x17, 1, 0, 0, 0, 9]);
        for (sound, headers) in
            [(AAC, vec![AVC, AAC]), (&[0x2F, 1, 2], vec![AVC]), (&[0xAF, 1, 2], vec![AVC])]
        {
            for tag in [tag(TagKind::Video, AVC), tag(TagKind::Audio, sound), key.clone()] {
                ring.push(tag);
            }
            let mut joined = Vec::new();
            ring.read(ring.end() - 1, &mut |read| {
                if let crate::ring::Read::Tag(entry) = read {
                    joined.extend(entry.join.as_deref().map(bodies));
                }
                true
            });
            assert_eq!(joined, [headers]);
        }
    }

    #[test]
    fn they_are_bounded_and_an_outdated_one_is_not_kept() {
        let mut headers = Headers::default();
        let of = |track: u8, length: usize| {
            let head = [0x96, 0, b'h', b'v', b'c', b'1', track];
            let body = head.into_iter().chain(std::iter::repeat_n(track, length)).collect::<Vec<_>>();
            Tag::from_wire(TagKind::Video, MediaTime::ZERO, body.into())
        };
        for track in 0..=255 {
            headers.note(&of(track, 4));
        }
        assert_eq!(headers.tags.len(), MOST);
        assert!(headers.note(&of(3, MOST_BYTES)), "it is new");
        assert!(headers.tags.iter().all(|tag| tag.track() != 3), "neither kept nor the old one in its place");
    }
}
