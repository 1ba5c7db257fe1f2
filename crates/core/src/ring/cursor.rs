//! An output's place in the ring: where it begins, and what it leaves out until a place where it can go on.
//!
//! In: the ring's entries, one after the other. Out: for each of them, whether the output sends it, and the headers it has to
//! send first. Sessions, recordings and taps all have one; what they do with the tags is their own affair. On the stream's
//! thread.

use flowcast_rtmp::time::MediaTime;

use crate::ring::{Entry, Headers, Join, Ring};

/// What is left out until a place where it can begin again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Skipping {
    /// Nothing is left out.
    Nothing,
    /// Pictures, which have not begun: the output began with sound.
    Unbegun,
    /// Pictures, because some were lost.
    Pictures,
    /// Sound, too: for what cannot go on with one track alone, such as a recording.
    Everything,
}

/// What an output does with an entry.
#[derive(Debug)]
pub enum Offer<'a> {
    /// It begins, or goes on, here: headers first, then the tag.
    Begin {
        /// The headers that hold there.
        headers: &'a Headers,
        /// Nothing was sent before.
        first: bool,
    },
    /// The tag.
    Send,
    /// Nothing: it is before its beginning.
    Before,
    /// Nothing, and that is a loss.
    Dropped,
}

/// An output's place in the [`Ring`], and the rules of what it sends.
///
/// An output keeps one. In its turns it calls [`lose_until`](Self::lose_until) with [`Ring::start`], in case it fell out of the
/// ring; reads the ring from [`next`](Self::next) on; and gives each entry to [`offer`](Self::offer), which says what to do with it.
#[derive(Debug)]
pub struct Cursor {
    next: u64,
    base: Option<MediaTime>,
    skipping: Skipping,
    drops: u64,
}

impl Cursor {
    /// At the oldest tag kept: it begins where it first can.
    #[must_use]
    pub const fn oldest() -> Self {
        Self { next: 0, base: None, skipping: Skipping::Nothing, drops: 0 }
    }

    /// At tag number `next`.
    #[must_use]
    pub const fn at(next: u64) -> Self {
        Self { next, ..Self::oldest() }
    }

    /// Where `join` says.
    #[must_use]
    pub fn new(ring: &Ring, join: Join) -> Self {
        let begin = match join {
            Join::Newest => ring.newest_join(),
            // The keyframe this very turn brought is the next one, too, if nothing followed it yet.
            Join::Next => ring.join_now(),
        };
        Self { next: begin.unwrap_or_else(|| ring.end()), ..Self::oldest() }
    }

    /// Goes on at what is newest: after a pause.
    pub fn rejoin(&mut self, ring: &Ring) {
        self.next = ring.newest_join().unwrap_or_else(|| ring.end());
        self.skipping = if self.has_begun() { Skipping::Pictures } else { Skipping::Nothing };
    }

    /// The number of the next tag: what [`Ring::read`] is to begin with, and what
    /// [`OutputDriver::cursor`](crate::driver::OutputDriver::cursor) answers.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }

    /// Where the output began; nothing earlier is sent.
    #[must_use]
    pub const fn base(&self) -> Option<MediaTime> {
        self.base
    }

    /// Whether the output has begun.
    #[must_use]
    pub const fn has_begun(&self) -> bool {
        self.base.is_some()
    }

    /// What it leaves out at the moment.
    #[must_use]
    pub const fn skipping(&self) -> Skipping {
        self.skipping
    }

    /// Leaves out at least this much from here on.
    pub fn skip(&mut self, what: Skipping) {
        self.skipping = self.skipping.max(what);
    }

    /// Tags lost so far.
    #[must_use]
    pub const fn drops(&self) -> u64 {
        self.drops
    }

    /// One more tag is lost.
    pub const fn drop_one(&mut self) {
        self.drops += 1;
    }

    /// Goes on at tag number `to`, if that is ahead, and counts the tags between as lost. What follows is left out as `what` says,
    /// up to a place where the output can begin again.
    pub fn lose_until(&mut self, to: u64, what: Skipping) {
        let lost = to.saturating_sub(self.next);
        self.next = self.next.max(to);
        if self.has_begun() && lost > 0 {
            self.drops += lost;
            self.skip(what);
        }
    }

    /// Goes on at tag number `to`; those before it were sent another way.
    pub const fn sent_until(&mut self, to: u64) {
        self.next = to;
    }

    /// Moves on by the entry it is at, and says what the output does with it. An output that left something out goes on only where
    /// `may_resume` agrees; the usual answer is `true`.
    pub fn offer<'a>(&mut self, entry: &'a Entry, may_resume: impl FnOnce() -> bool) -> Offer<'a> {
        self.next += 1;
        let tag = entry.message.tag();
        if let Some(headers) = &entry.join
            && self.can_begin(entry)
            && may_resume()
        {
            let first = self.base.is_none();
            self.base.get_or_insert(tag.timestamp);
            self.skipping = match self.skipping {
                _ if entry.is_whole => Skipping::Nothing,
                Skipping::Everything => Skipping::Pictures,
                _ => Skipping::Unbegun,
            };
            return Offer::Begin { headers, first };
        }
        // A tag of the other track may be a little older than the keyframe it follows.
        if self.base.is_none_or(|base| tag.timestamp < base) {
            return Offer::Before;
        }
        match self.skipping {
            Skipping::Nothing => Offer::Send,
            Skipping::Unbegun if tag.is_video() => Offer::Before,
            Skipping::Pictures if !tag.is_video() => Offer::Send,
            Skipping::Unbegun => Offer::Send,
            Skipping::Pictures | Skipping::Everything => {
                self.drops += 1;
                Offer::Dropped
            }
        }
    }

    /// Whether the output has something to begin at a place like this.
    fn can_begin(&self, entry: &Entry) -> bool {
        match self.skipping {
            Skipping::Nothing => self.base.is_none(),
            Skipping::Unbegun | Skipping::Pictures => entry.is_whole,
            Skipping::Everything => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::{Tag, TagKind};

    use super::*;
    use crate::config::BacklogConfig;

    fn tag(kind: TagKind, time: i64, body: &'static [u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::from_millis(time), Bytes::from_static(body))
    }

    fn header() -> Tag {
        tag(TagKind::Video, 0, &[0x17, 0, 0, 0, 0, 1])
    }

    fn sound(time: i64) -> Tag {
        tag(TagKind::Audio, time, &[0xAF, 1, 9])
    }

    fn picture(time: i64, keyframe: bool) -> Tag {
        tag(TagKind::Video, time, if keyframe { &[0x17, 1, 0, 0, 0] } else { &[0x27, 1, 0, 0, 0] })
    }

    /// What an output at `cursor` sends of what is new: times, a header's with a minus; and whether it is a picture.
    fn sent(cursor: &mut Cursor, ring: &Ring) -> Vec<(i64, bool)> {
        let mut sent = Vec::new();
        ring.read(cursor.next(), &mut |read| {
            let crate::ring::Read::Tag(entry) = read else { panic!("nothing is lost") };
            let tag = entry.message.tag();
            let offer = cursor.offer(entry, || true);
            if let Offer::Begin { headers, .. } = &offer {
                sent.extend(
                    headers.at(tag.timestamp).map(|tag| (-tag.timestamp.as_millis(), tag.is_video())),
                );
            }
            if matches!(offer, Offer::Begin { .. } | Offer::Send) {
                sent.push((tag.timestamp.as_millis(), tag.is_video()));
            }
            true
        });
        sent
    }

    #[test]
    fn who_joins_while_the_picture_is_gone_begins_with_sound_and_gets_the_picture_at_its_keyframe() {
        let mut ring = Ring::new(BacklogConfig::default(), true);
        [header(), picture(0, true), picture(40, false)].into_iter().for_each(|tag| ring.push(tag));
        let mut next = Cursor::new(&ring, Join::Next);
        for time in (50..1_950).step_by(20) {
            ring.push(sound(time));
        }
        assert_eq!(sent(&mut next, &ring), [], "the picture may still come");
        for time in (1_950..20_000).step_by(20) {
            ring.push(sound(time));
            ring.trim(ring.end());
        }
        let mut newest = Cursor::new(&ring, Join::Newest);
        let first = sent(&mut newest, &ring);
        assert_eq!(
            first,
            [(-19_990, true), (19_990, false)],
            "the newest sound, behind what is known of the picture"
        );
        [picture(20_000, false), sound(20_010)].into_iter().for_each(|tag| ring.push(tag));
        assert_eq!(sent(&mut newest, &ring), [(20_010, false)], "what needs an earlier picture is left out");
        [picture(20_040, true), picture(20_080, false)].into_iter().for_each(|tag| ring.push(tag));
        assert_eq!(sent(&mut newest, &ring), [(-20_040, true), (20_040, true), (20_080, true)]);
        assert_eq!(newest.drops(), 0, "nothing was lost");
    }

    #[test]
    fn a_picture_that_is_announced_and_never_comes_is_not_waited_for() {
        let mut ring = Ring::new(BacklogConfig::default(), true);
        ring.push(header());
        for time in (0..3_000).step_by(20) {
            ring.push(sound(time));
        }
        let mut cursor = Cursor::oldest();
        let sent = sent(&mut cursor, &ring);
        assert_eq!(sent[..2], [(-2_000, true), (2_000, false)]);
        assert_eq!(sent.len(), 51);
    }

    #[test]
    fn a_kept_keyframe_is_a_better_place_than_the_sound_behind_it() {
        let mut ring = Ring::new(BacklogConfig::default(), true);
        [header(), picture(0, true)].into_iter().for_each(|tag| ring.push(tag));
        for time in (0..5_000).step_by(20) {
            ring.push(sound(time));
        }
        assert_eq!(Cursor::new(&ring, Join::Newest).next(), 1);
    }
}
