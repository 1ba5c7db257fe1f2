//! A media playlist: RFC 8216 section 4.3.3, as it is written and as it is found again.
//!
//! In: segments that are complete, one after another. Out: the text of the playlist, and the files that nobody needs any more. Numbers never go back: a
//! playlist that was written before goes on. Nothing here looks at a disk or a clock. On the writer's thread.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The version that `EXT-X-MAP` needs, and the one of everything else here.
const VERSION_MAP: u32 = 7;
const VERSION: u32 = 6;
/// A playlist has at least this many times its target duration, RFC 8216 section 6.2.2.
const FEWEST: u64 = 3;
/// Numbers that are read, and lengths in milliseconds, are not beyond these: they are added up.
const MOST_NUMBER: u64 = 1 << 50;
const MOST_LENGTH_MS: u64 = 24 * 3600 * 1000;
/// Names of segments and of their headers begin with these.
const SEGMENT: &str = "seg-";
const HEADER: &str = "init-";
const EXTENSIONS: [&str; 2] = [".m4s", ".ts"];

/// The name of a segment.
pub(super) fn segment_name(number: u64, is_ts: bool) -> String {
    format!("{SEGMENT}{number}{}", EXTENSIONS[usize::from(is_ts)])
}

/// The name of the header of segments, the first of which has this number.
pub(super) fn header_name(number: u64) -> String {
    format!("{HEADER}{number}.mp4")
}

/// Whether such a name is given here to a segment or a header.
pub(super) fn is_own(name: &str) -> bool {
    number_of(name).is_some()
        || name.strip_prefix(HEADER).and_then(|rest| rest.strip_suffix(".mp4")).is_some_and(is_number)
}

/// The number of a segment of this name.
fn number_of(name: &str) -> Option<u64> {
    let rest = name.strip_prefix(SEGMENT)?;
    let number = EXTENSIONS.iter().find_map(|extension| rest.strip_suffix(extension))?;
    is_number(number).then(|| number.parse().ok()).flatten()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// A segment in a playlist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) length: Duration,
    /// What came before it has another timeline, or another header.
    pub(super) is_discontinuity: bool,
    /// Its header.
    pub(super) header: Option<Arc<str>>,
    /// When it began.
    pub(super) at: SystemTime,
    /// It begins with a keyframe.
    pub(super) is_independent: bool,
}

/// What a playlist keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kept {
    /// The newest segments, at least this much of them.
    Window(Duration),
    /// All of them.
    All,
}

/// A playlist.
#[derive(Debug)]
pub(super) struct Playlist {
    kept: Kept,
    /// The target duration in seconds, once there is a segment.
    target: u64,
    is_published: bool,
    /// The number of the first segment.
    sequence: u64,
    /// Discontinuities before it.
    discontinuities: u64,
    entries: VecDeque<Entry>,
    listed: Duration,
    /// The most that was ever listed.
    longest: Duration,
    /// All media since the beginning, and what is not listed any more, with the time at which it may go.
    media: Duration,
    leaving: VecDeque<(Duration, Entry)>,
    is_ended: bool,
}

impl Playlist {
    /// An empty one, whose segments are to be `target` seconds long and are counted from `sequence` on.
    pub(super) fn new(kept: Kept, target: u64, sequence: u64) -> Self {
        Self {
            kept,
            target,
            is_published: false,
            sequence,
            discontinuities: 0,
            entries: VecDeque::new(),
            listed: Duration::ZERO,
            longest: Duration::ZERO,
            media: Duration::ZERO,
            leaving: VecDeque::new(),
            is_ended: false,
        }
    }

    /// One that goes on behind the text of another. Of a window, what began longer ago than the window, or lies in the future, is not listed any
    /// more: by more than a target duration, since its times follow the publisher's clock.
    ///
    /// # Errors
    ///
    /// Why the text is none that was written here.
    pub(super) fn go_on(text: &str, kept: Kept, target: u64, now: SystemTime) -> Result<Self, String> {
        let Read { target: target_before, sequence, discontinuities, entries } = read(text)?;
        let mut playlist = Self::new(kept, target, sequence);
        playlist.discontinuities = discontinuities;
        let window = match kept {
            Kept::Window(window) => window.max(Duration::from_secs(FEWEST * target_before)),
            Kept::All => Duration::MAX,
        };
        let is_fresh = |entry: &Entry| {
            let end = entry.at + entry.length;
            let is_near = match now.duration_since(end) {
                Ok(since) => since <= window,
                Err(ahead) => ahead.duration() <= Duration::from_secs(target_before),
            };
            kept == Kept::All || is_near
        };
        if entries.back().is_some_and(is_fresh) {
            (playlist.target, playlist.is_published) = (target.max(target_before), true);
        }
        for entry in entries {
            playlist.add(entry);
        }
        playlist.longest = playlist.listed;
        if !playlist.is_published {
            playlist.forget();
        }
        Ok(playlist)
    }

    /// The number of the next segment.
    pub(super) fn next(&self) -> u64 {
        self.sequence + self.entries.len() as u64
    }

    /// The target duration in seconds, once it is published.
    pub(super) fn published(&self) -> Option<u64> {
        self.is_published.then_some(self.target)
    }

    /// Whether it ever had a segment.
    pub(super) fn has_begun(&self) -> bool {
        !self.media.is_zero()
    }

    /// Whether each segment that is listed begins with a keyframe.
    pub(super) fn is_independent(&self) -> bool {
        self.entries.iter().all(|entry| entry.is_independent)
    }

    /// Whether it has no segment now.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Lists a segment. What the window has no place for leaves.
    pub(super) fn push(&mut self, entry: Entry) {
        if !self.is_published {
            // It is rounded as players round it.
            let rounded = (entry.length + Duration::from_millis(500)).as_secs();
            (self.target, self.is_published) = (self.target.max(rounded), true);
        }
        self.add(entry);
        if let Kept::Window(window) = self.kept {
            let fewest = window.max(Duration::from_secs(FEWEST * self.target));
            while let Some(first) = self.entries.front()
                && self.listed - first.length >= fewest
            {
                self.leave();
            }
        }
        self.longest = self.longest.max(self.listed);
    }

    fn add(&mut self, entry: Entry) {
        self.is_ended = false;
        self.listed += entry.length;
        self.media += entry.length;
        self.entries.push_back(entry);
    }

    /// The first segment is not listed any more. It can be fetched as long as RFC 8216 section 6.2.2 says: its own length and that of the longest
    /// playlist with it.
    fn leave(&mut self) {
        let Some(first) = self.entries.pop_front() else { return };
        self.listed -= first.length;
        self.sequence += 1;
        self.discontinuities += u64::from(first.is_discontinuity);
        self.leaving.push_back((self.media + first.length + self.longest, first));
    }

    /// No segment is listed any more: they are gone, or too old.
    pub(super) fn forget(&mut self) {
        while !self.entries.is_empty() {
            self.leave();
        }
    }

    /// The names of files that may be removed: segments that left long ago, and headers that no other one has.
    pub(super) fn expired(&mut self) -> Vec<String> {
        let mut gone = Vec::new();
        while let Some((until, _)) = self.leaving.front()
            && *until <= self.media
            && let Some((_, entry)) = self.leaving.pop_front()
        {
            if let Some(header) = entry.header.filter(|header| !self.needs(header)) {
                gone.push(header.to_string());
            }
            gone.push(entry.name);
        }
        gone
    }

    fn needs(&self, header: &str) -> bool {
        let mut all = self.leaving.iter().map(|(_, entry)| entry).chain(&self.entries);
        all.any(|entry| entry.header.as_deref() == Some(header))
    }

    /// Whether a file of this name is listed, or was a while ago.
    pub(super) fn has(&self, name: &str) -> bool {
        self.needs(name)
            || self
                .leaving
                .iter()
                .map(|(_, entry)| entry)
                .chain(&self.entries)
                .any(|entry| entry.name == name)
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        self.is_ended = true;
    }

    /// The text.
    pub(super) fn text(&self) -> String {
        let mut text = String::with_capacity(256 + 128 * self.entries.len());
        // A string takes all that is written to it.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let has_headers = self.entries.iter().any(|entry| entry.header.is_some());
        let version = if has_headers { VERSION_MAP } else { VERSION };
        writeln!(text, "#EXTM3U\n#EXT-X-VERSION:{version}\n#EXT-X-TARGETDURATION:{}", self.target)?;
        writeln!(text, "#EXT-X-MEDIA-SEQUENCE:{}", self.sequence)?;
        if self.discontinuities > 0 {
            writeln!(text, "#EXT-X-DISCONTINUITY-SEQUENCE:{}", self.discontinuities)?;
        }
        if self.kept == Kept::All {
            writeln!(text, "#EXT-X-PLAYLIST-TYPE:EVENT")?;
        }
        if self.is_independent() {
            writeln!(text, "#EXT-X-INDEPENDENT-SEGMENTS")?;
        }
        let mut header = None;
        for entry in &self.entries {
            if entry.is_discontinuity {
                writeln!(text, "#EXT-X-DISCONTINUITY")?;
            }
            if let Some(own) = entry.header.as_deref().filter(|own| header != Some(*own)) {
                writeln!(text, "#EXT-X-MAP:URI=\"{own}\"")?;
                header = Some(own);
            }
            writeln!(text, "#EXT-X-PROGRAM-DATE-TIME:{}", humantime::format_rfc3339_millis(entry.at))?;
            writeln!(text, "#EXTINF:{:.3},\n{}", entry.length.as_secs_f64(), entry.name)?;
        }
        if self.is_ended {
            writeln!(text, "#EXT-X-ENDLIST")?;
        }
        Ok(())
    }
}

/// What the text of a playlist says.
#[derive(Debug, Default)]
struct Read {
    target: u64,
    sequence: u64,
    discontinuities: u64,
    entries: VecDeque<Entry>,
}

fn read(text: &str) -> Result<Read, String> {
    let mut lines = text.lines().map(str::trim_end);
    if lines.next() != Some("#EXTM3U") {
        return Err("it does not begin with #EXTM3U".to_owned());
    }
    let mut read = Read::default();
    let is_independent = text.contains("#EXT-X-INDEPENDENT-SEGMENTS");
    let (mut header, mut length, mut at, mut is_discontinuity) = (None, None, SystemTime::UNIX_EPOCH, false);
    for line in lines.filter(|line| !line.is_empty()) {
        let number = |text: &str| {
            let number = text.parse().ok().filter(|number| *number <= MOST_NUMBER);
            number.ok_or_else(|| format!("{line:?} has no number"))
        };
        match line.split_once(':').map_or((line, ""), |(tag, value)| (tag, value)) {
            ("#EXT-X-TARGETDURATION", value) => read.target = number(value)?,
            ("#EXT-X-MEDIA-SEQUENCE", value) => read.sequence = number(value)?,
            ("#EXT-X-DISCONTINUITY-SEQUENCE", value) => read.discontinuities = number(value)?,
            ("#EXT-X-DISCONTINUITY", _) => is_discontinuity = true,
            ("#EXT-X-MAP", value) => {
                let name = value.strip_prefix("URI=\"").and_then(|rest| rest.strip_suffix('"'));
                header = Some(Arc::from(name.filter(|name| is_own(name)).ok_or_else(|| foreign(value))?));
            }
            ("#EXT-X-PROGRAM-DATE-TIME", value) => {
                at = humantime::parse_rfc3339(value).map_err(|error| format!("{line:?}: {error}"))?;
            }
            ("#EXTINF", value) => {
                let seconds = value.trim_end_matches(',').parse::<f64>().ok();
                let seconds = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                // It was written in milliseconds.
                let millis = seconds.map(|length| (length + Duration::from_micros(500)).as_millis());
                let millis = millis.and_then(|millis| u64::try_from(millis).ok());
                let millis = millis.filter(|millis| *millis <= MOST_LENGTH_MS);
                length =
                    Some(Duration::from_millis(millis.ok_or_else(|| format!("{line:?} has no length"))?));
            }
            (name, "") if !name.starts_with('#') => {
                let length = length.take().ok_or_else(|| format!("{name:?} has no length"))?;
                if number_of(name) != Some(read.sequence + read.entries.len() as u64) {
                    return Err(foreign(name));
                }
                read.entries.push_back(Entry {
                    name: name.to_owned(),
                    length,
                    is_discontinuity: std::mem::take(&mut is_discontinuity),
                    header: header.clone(),
                    at,
                    is_independent,
                });
            }
            (name, _) if !name.starts_with('#') => return Err(foreign(line)),
            _ => {}
        }
    }
    Ok(read)
}

fn foreign(name: &str) -> String {
    format!("{name:?} is no name of an HLS output of flowcast")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + seconds(1_795_949_000 + second)
    }

    /// The next segment of a playlist, which began at this second.
    fn push(playlist: &mut Playlist, second: u64, header: Option<&str>, is_discontinuity: bool) {
        let name = segment_name(playlist.next(), header.is_none());
        let header = header.map(Arc::from);
        let (length, at, is_independent) = (seconds(4), at(second), true);
        playlist.push(Entry { name, length, is_discontinuity, header, at, is_independent });
    }

    #[test]
    fn a_playlist_is_written_as_the_rfc_says() {
        let mut playlist = Playlist::new(Kept::Window(seconds(12)), 4, 7);
        push(&mut playlist, 0, Some("init-7.mp4"), false);
        push(&mut playlist, 4, Some("init-7.mp4"), false);
        push(&mut playlist, 8, Some("init-9.mp4"), true);
        playlist.end();
        let text = "#EXTM3U
#EXT-X-VERSION:7
#EXT-X-TARGETDURATION:4
#EXT-X-MEDIA-SEQUENCE:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MAP:URI=\"init-7.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-29T10:43:20.000Z
#EXTINF:4.000,
seg-7.m4s
#EXT-X-PROGRAM-DATE-TIME:2026-11-29T10:43:24.000Z
#EXTINF:4.000,
seg-8.m4s
#EXT-X-DISCONTINUITY
#EXT-X-MAP:URI=\"init-9.mp4\"
#EXT-X-PROGRAM-DATE-TIME:2026-11-29T10:43:28.000Z
#EXTINF:4.000,
seg-9.m4s
#EXT-X-ENDLIST
";
        assert_eq!(playlist.text(), text);
        // What goes on has not ended.
        push(&mut playlist, 12, Some("init-9.mp4"), false);
        assert!(!playlist.text().contains("ENDLIST") && playlist.text().contains("SEQUENCE:8\n"));
    }

    #[test]
    fn segments_leave_the_window_and_are_removed_later() {
        let mut playlist = Playlist::new(Kept::Window(seconds(16)), 4, 0);
        let mut removed = Vec::new();
        for number in 0..40 {
            let header = format!("init-{}.mp4", number / 10 * 10);
            push(&mut playlist, 4 * number, Some(&header), number > 0 && number % 10 == 0);
            let gone = playlist.expired();
            // A segment that was listed for 16 s can be fetched for 20 s after that.
            let expected =
                (number + 1).checked_sub(4 + 5).map(|first| segment_name(first.saturating_sub(1), false));
            let segments: Vec<_> = gone.iter().filter(|name| name.starts_with("seg-")).cloned().collect();
            assert_eq!(segments.first().cloned(), expected.filter(|_| number >= 9), "{number}");
            removed.extend(gone);
        }
        assert_eq!(playlist.entries.len(), 4);
        assert_eq!(
            (playlist.sequence, playlist.discontinuities),
            (36, 3),
            "the seams at 10, 20 and 30 have left"
        );
        assert_eq!(removed.iter().filter(|name| name.starts_with("init-")).count(), 3, "{removed:?}");
        assert!(playlist.has("init-30.mp4") && !playlist.has("init-20.mp4"));
        assert_eq!(playlist.leaving.len(), 5);
    }

    #[test]
    fn three_target_durations_stay_whatever_the_window() {
        let mut playlist = Playlist::new(Kept::Window(seconds(1)), 2, 0);
        (0..20).for_each(|number| push(&mut playlist, 4 * number, None, false));
        assert_eq!(
            (playlist.published(), playlist.entries.len()),
            (Some(4), 3),
            "the first one was longer than 2 s"
        );
        let mut event = Playlist::new(Kept::All, 4, 0);
        (0..100).for_each(|number| push(&mut event, 4 * number, None, false));
        assert!(event.entries.len() == 100 && event.expired().is_empty());
        assert!(event.text().contains("#EXT-X-PLAYLIST-TYPE:EVENT\n"));
    }

    #[test]
    fn a_playlist_that_is_found_goes_on() {
        let window = Kept::Window(seconds(16));
        let mut before = Playlist::new(window, 4, 100);
        (0..30).for_each(|number| push(&mut before, 4 * number, Some("init-100.mp4"), number == 10));
        before.end();
        let mut playlist = Playlist::go_on(&before.text(), window, 2, at(130)).unwrap();
        assert_eq!((playlist.next(), playlist.published(), playlist.discontinuities), (130, Some(4), 1));
        assert_eq!(playlist.entries, before.entries);
        push(&mut playlist, 130, Some("init-130.mp4"), true);
        assert!(playlist.text().contains("#EXT-X-MEDIA-SEQUENCE:127\n"));
        // A publisher's clock that goes a little fast.
        let ahead = Playlist::go_on(&before.text(), window, 2, at(118)).unwrap();
        assert_eq!((ahead.next(), ahead.entries), (130, before.entries.clone()));
        // What is from yesterday, or from a clock that was wrong, is not shown to anybody; its numbers are not given again.
        for now in [at(86_400), at(0)] {
            let stale = Playlist::go_on(&before.text(), window, 2, now).unwrap();
            assert_eq!((stale.next(), stale.published(), stale.is_empty()), (130, None, true));
            assert!(stale.has("seg-129.m4s"), "those who know it may fetch it");
        }
        let event = Playlist::go_on(&before.text(), Kept::All, 2, at(86_400)).unwrap();
        assert_eq!(event.entries.len(), 4, "nothing leaves an event");
    }

    #[test]
    fn a_playlist_of_somebody_else_is_refused() {
        for text in [
            "",
            "not a playlist",
            "#EXTM3U\n#EXTINF:4,\nepisode-1.ts\n",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:4,\nhttp://host/seg-1.ts\n",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:1\n#EXTINF:4,\nseg-2.ts\n",
            "#EXTM3U\nseg-0.ts\n",
            "#EXTM3U\n#EXTINF:-4,\nseg-0.ts\n",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-1\n",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:4,\nseg-18446744073709551615.ts\n",
            "#EXTM3U\n#EXT-X-TARGETDURATION:18446744073709551615\n",
            "#EXTM3U\n#EXTINF:1e19,\nseg-0.ts\n",
            "#EXTM3U\n#EXT-X-MAP:URI=\"../../init-0.mp4\"\n",
            "#EXTM3U\n/home/films/a.mp4\n",
        ] {
            assert!(Playlist::go_on(text, Kept::All, 4, at(0)).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            lengths in prop::collection::vec((1_u64..20_000, any::<bool>(), 0_u64..3), 1..40),
            sequence in 0_u64..1 << 40,
        ) {
            let mut playlist = Playlist::new(Kept::All, 4, sequence);
            let mut begin = at(0);
            for (millis, is_discontinuity, header) in lengths {
                let header = (header > 0).then(|| Arc::from(header_name(header)));
                let (name, length) = (segment_name(playlist.next(), header.is_none()), Duration::from_millis(millis));
                // A header goes on as long as no other is said.
                let header = header.or_else(|| playlist.entries.back().and_then(|entry| entry.header.clone()));
                playlist.push(Entry { name, length, is_discontinuity, header, at: begin, is_independent: true });
                begin += length;
            }
            let read = Playlist::go_on(&playlist.text(), Kept::All, 4, begin).unwrap();
            prop_assert_eq!(&read.entries, &playlist.entries);
            prop_assert_eq!(read.text(), playlist.text());
        }

        #[test]
        fn no_text_is_too_much(text in "(#EXTM3U\n)?(#EXT[A-Z:,0-9.\n-]*|[a-z0-9.\n-]*){0,20}") {
            let _ = Playlist::go_on(&text, Kept::Window(seconds(10)), 4, at(0));
        }
    }
}
