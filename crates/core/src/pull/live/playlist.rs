//! HLS playlists (RFC 8216), as far as a player of one rendition needs them.
//!
//! In: the text. Out: the variants, or the segments. Nothing is fetched here; URIs are as they are written.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fetch::Range;

/// What every playlist begins with.
const BEGINNING: &str = "#EXTM3U";
/// What a playlist may say of durations, in seconds: more is nonsense.
const LONGEST: f64 = 86_400.0;
/// The highest number of a first segment: more is nonsense, and numbers grow.
const HIGHEST: u64 = 1 << 50;

/// A playlist.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Playlist {
    Master(Master),
    Media(Media),
}

/// A playlist of playlists.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Master {
    pub(super) variants: Vec<Variant>,
    /// The sound that has a playlist of its own.
    pub(super) sounds: Vec<Sound>,
}

/// One quality.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Variant {
    pub(super) uri: String,
    /// Bits a second, at its peak.
    pub(super) bandwidth: u64,
    pub(super) codecs: Option<String>,
    pub(super) has_resolution: bool,
    /// The group of its sound.
    pub(super) sound: Option<String>,
}

/// Sound beside the picture.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Sound {
    pub(super) group: String,
    /// `None` if it is in the variant's own segments.
    pub(super) uri: Option<String>,
    pub(super) default: bool,
}

/// A playlist of segments.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Media {
    /// No segment is longer.
    pub(super) target: Duration,
    /// The number of the first segment.
    pub(super) first: u64,
    pub(super) segments: Vec<Segment>,
    /// Nothing follows.
    pub(super) is_complete: bool,
}

/// A piece of media.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Segment {
    pub(super) uri: String,
    pub(super) duration: Duration,
    pub(super) range: Option<Range>,
    /// It has nothing to do with what came before.
    pub(super) is_break: bool,
    /// It is not there.
    pub(super) is_gap: bool,
    pub(super) map: Option<Arc<Map>>,
    pub(super) key: Option<Arc<Key>>,
}

/// What segments begin with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Map {
    pub(super) uri: String,
    pub(super) range: Option<Range>,
    pub(super) key: Option<Arc<Key>>,
}

/// How segments are encrypted: AES-128 in CBC mode, the whole segment.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Key {
    pub(super) uri: String,
    /// By the number of the segment, if it is not given.
    pub(super) iv: Option<[u8; 16]>,
}

/// Whether a text is a playlist.
pub(super) fn is_playlist(start: &[u8]) -> bool {
    let start = start.strip_prefix("\u{FEFF}".as_bytes()).unwrap_or(start);
    start.starts_with(BEGINNING.as_bytes())
}

impl Playlist {
    /// # Errors
    ///
    /// What is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('\u{FEFF}').unwrap_or(text);
        if !text.starts_with(BEGINNING) {
            return Err(format!("it does not begin with {BEGINNING}"));
        }
        let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
        if lines().any(|line| line.starts_with("#EXT-X-STREAM-INF:")) {
            return Ok(Self::Master(Master::parse(lines())));
        }
        Media::parse(lines()).map(Self::Media)
    }
}

impl Master {
    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Self {
        let (mut master, mut next) = (Self::default(), None);
        for line in lines {
            if let Some(list) = line.strip_prefix("#EXT-X-STREAM-INF:") {
                let attributes = attributes(list);
                let text = |name: &str| attributes.get(name).map(|value| (*value).to_owned());
                next = Some(Variant {
                    uri: String::new(),
                    bandwidth: attributes.get("BANDWIDTH").and_then(|value| value.parse().ok()).unwrap_or(0),
                    codecs: text("CODECS"),
                    has_resolution: attributes.contains_key("RESOLUTION"),
                    sound: text("AUDIO"),
                });
            } else if let Some(list) = line.strip_prefix("#EXT-X-MEDIA:") {
                let attributes = attributes(list);
                if attributes.get("TYPE") == Some(&"AUDIO") {
                    master.sounds.push(Sound {
                        group: attributes.get("GROUP-ID").copied().unwrap_or_default().to_owned(),
                        uri: attributes.get("URI").map(|uri| (*uri).to_owned()),
                        default: attributes.get("DEFAULT") == Some(&"YES"),
                    });
                }
            } else if !line.starts_with('#')
                && let Some(variant) = next.take()
            {
                master.variants.push(Variant { uri: line.to_owned(), ..variant });
            }
        }
        master
    }

    /// The best variant whose codecs are carried: with a picture rather than without, then the most bits; and its sound, if that has a
    /// playlist of its own.
    pub(super) fn best(&self, is_carried: impl Fn(&str) -> bool) -> Option<(&Variant, Option<&Sound>)> {
        let carried = |variant: &&Variant| {
            let codecs = variant.codecs.as_deref().unwrap_or_default();
            codecs.split(',').map(str::trim).filter(|codec| !codec.is_empty()).all(&is_carried)
        };
        let rank = |variant: &&Variant| (variant.has_resolution, variant.bandwidth);
        let of_carried = self.variants.iter().filter(carried).max_by_key(rank);
        let variant = of_carried.or_else(|| self.variants.iter().max_by_key(rank))?;
        let of_group = || {
            let group = variant.sound.as_ref()?;
            let group = || self.sounds.iter().filter(|sound| sound.group == *group);
            group().find(|sound| sound.default).or_else(|| group().next())
        };
        Some((variant, of_group().filter(|sound| sound.uri.is_some())))
    }
}

impl Media {
    fn parse<'a>(lines: impl Iterator<Item = &'a str>) -> Result<Self, String> {
        let mut media = Self { target: Duration::ZERO, first: 0, segments: Vec::new(), is_complete: false };
        let (mut map, mut key) = (None, None);
        let (mut duration, mut is_break, mut is_gap) = (None, false, false);
        let mut range: Option<(u64, Option<u64>)> = None;
        // Where a part ends, the next one of the same file begins.
        let mut ends: HashMap<String, u64> = HashMap::new();
        for line in lines {
            let Some((tag, value)) =
                line.strip_prefix('#').map(|tag| tag.split_once(':').unwrap_or((tag, "")))
            else {
                let Some(duration) = duration.take() else { continue };
                let range = match range.take() {
                    None => None,
                    Some((length, from)) => {
                        let from = from.or_else(|| ends.get(line).copied()).unwrap_or(0);
                        ends.insert(line.to_owned(), from.saturating_add(length));
                        Some(Range { from, length })
                    }
                };
                media.segments.push(Segment {
                    uri: line.to_owned(),
                    duration,
                    range,
                    is_break: std::mem::take(&mut is_break),
                    is_gap: std::mem::take(&mut is_gap),
                    map: map.clone(),
                    key: key.clone(),
                });
                continue;
            };
            match tag {
                "EXTINF" => {
                    let value = value.split(',').next().unwrap_or_default();
                    duration = Some(seconds(value).ok_or("the duration of a segment is no number")?);
                }
                "EXT-X-TARGETDURATION" => {
                    media.target = seconds(value).ok_or("the target duration is no number")?;
                }
                "EXT-X-MEDIA-SEQUENCE" => {
                    let first = value.trim().parse().ok().filter(|first| *first <= HIGHEST);
                    media.first = first.ok_or("the media sequence is no number, or above 2^50")?;
                }
                "EXT-X-BYTERANGE" => range = Some(byte_range(value).ok_or("a byte range is malformed")?),
                "EXT-X-DISCONTINUITY" => is_break = true,
                "EXT-X-GAP" => is_gap = true,
                "EXT-X-ENDLIST" => media.is_complete = true,
                "EXT-X-KEY" => key = encryption(value)?.map(Arc::new),
                "EXT-X-MAP" => {
                    let attributes = attributes(value);
                    let uri = attributes.get("URI").ok_or("a map has no URI")?;
                    let range = match attributes.get("BYTERANGE") {
                        None => None,
                        Some(range) => {
                            let (length, from) = byte_range(range).ok_or("a byte range is malformed")?;
                            Some(Range { from: from.unwrap_or(0), length })
                        }
                    };
                    map = Some(Arc::new(Map { uri: (*uri).to_owned(), range, key: key.clone() }));
                }
                _ => {}
            }
        }
        // Of a playlist that does not say so, the longest segment.
        let longest = media.segments.iter().map(|segment| segment.duration).max().unwrap_or_default();
        media.target = media.target.max(longest).max(Duration::from_millis(500));
        Ok(media)
    }

    /// The number behind the last segment.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.segments.len() as u64)
    }

    pub(super) fn segment(&self, number: u64) -> Option<&Segment> {
        self.segments.get(usize::try_from(number.checked_sub(self.first)?).ok()?)
    }

    /// The number of the segment that playing begins with: the first one, if there is an end; else three target durations before it (RFC
    /// 8216, section 6.3.3).
    pub(super) fn beginning(&self) -> u64 {
        if self.is_complete {
            return self.first;
        }
        let (mut back, mut number) = (Duration::ZERO, self.end());
        for segment in self.segments.iter().rev() {
            if back >= self.target * 3 {
                break;
            }
            back += segment.duration;
            number -= 1;
        }
        number
    }
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.trim().parse().ok()?;
    (0.0..=LONGEST).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// Length, and where it begins if that is said.
fn byte_range(text: &str) -> Option<(u64, Option<u64>)> {
    match text.trim().split_once('@') {
        Some((length, from)) => Some((length.parse().ok()?, Some(from.parse().ok()?))),
        None => Some((text.trim().parse().ok()?, None)),
    }
}

fn encryption(list: &str) -> Result<Option<Key>, String> {
    let attributes = attributes(list);
    match attributes.get("METHOD").copied() {
        Some("NONE") => Ok(None),
        Some("AES-128") => {
            if attributes.get("KEYFORMAT").is_some_and(|format| *format != "identity") {
                return Err("the key of its segments is in a format that is not known here".to_owned());
            }
            let uri = (*attributes.get("URI").ok_or("a key has no URI")?).to_owned();
            let iv = match attributes.get("IV") {
                None => None,
                Some(text) => Some(vector(text).ok_or("an initialisation vector is malformed")?),
            };
            Ok(Some(Key { uri, iv }))
        }
        _ => Err("its segments are encrypted in a way that is not known here".to_owned()),
    }
}

fn vector(text: &str) -> Option<[u8; 16]> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    let is_number = (1..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| u128::from_str_radix(digits, 16).ok()).flatten().map(u128::to_be_bytes)
}

/// The attributes of a tag; values without their quotes.
fn attributes(list: &str) -> HashMap<&str, &str> {
    let (mut found, mut rest) = (HashMap::new(), list);
    while let Some((name, after)) = rest.split_once('=') {
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => {
                let (value, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
                (value, behind.split_once(',').map_or("", |(_, next)| next))
            }
            None => after.split_once(',').unwrap_or((after, "")),
        };
        found.insert(name.trim(), value.trim());
        rest = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> Media {
        match Playlist::parse(&format!("#EXTM3U\n{text}")) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn numbers_that_cannot_grow_are_refused() {
        let first = |number: u64| {
            Playlist::parse(&format!(
                "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:{number}\n#EXTINF:2,\na.ts\n"
            ))
        };
        assert!(first(HIGHEST).is_ok());
        assert!(first(HIGHEST + 1).is_err() && first(u64::MAX).is_err());
    }

    #[test]
    fn segments_have_what_was_said_of_them() {
        let list = media(
            "#EXT-X-TARGETDURATION:6\r\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-MAP:URI=\"i,1.mp4\",BYTERANGE=\"10@5\"\n#EXTINF:5.5,a title\n\
             a.m4s\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x0A\n#EXTINF:6\n#EXT-X-BYTERANGE:100@50\nb.m4s\n#EXTINF:6,\n\
             #EXT-X-BYTERANGE:20\nb.m4s\n#EXT-X-KEY:METHOD=NONE\n#EXT-X-DISCONTINUITY\n#EXT-X-GAP\n#EXTINF:1,\nc.m4s\n#EXT-X-ENDLIST\n",
        );
        assert!(list.is_complete && list.end() == 11 && list.target == Duration::from_secs(6));
        let [a, b, again, c] = &list.segments[..] else { panic!("{list:?}") };
        let map = a.map.as_ref().expect("a map");
        assert_eq!((map.uri.as_str(), map.range), ("i,1.mp4", Some(Range { from: 5, length: 10 })));
        assert!(a.key.is_none() && a.range.is_none() && !a.is_break);
        assert_eq!(b.key.as_ref().and_then(|key| key.iv), Some(10_u128.to_be_bytes()));
        assert_eq!(
            (b.range, again.range),
            (Some(Range { from: 50, length: 100 }), Some(Range { from: 150, length: 20 }),)
        );
        assert!(c.is_break && c.is_gap && c.key.is_none());
    }

    #[test]
    fn playing_begins_at_the_end_of_what_goes_on_and_at_the_beginning_of_what_has_an_end() {
        let list = "#EXT-X-TARGETDURATION:2\n".to_owned() + &"#EXTINF:2,\na.ts\n".repeat(10);
        assert_eq!(media(&list).beginning(), 7);
        assert_eq!(media(&format!("{list}#EXT-X-ENDLIST")).beginning(), 0);
        assert_eq!(media("#EXT-X-MEDIA-SEQUENCE:5\n#EXTINF:2,\na.ts\n").beginning(), 5);
        assert_eq!(media("").beginning(), 0);
    }

    #[test]
    fn the_best_variant_that_is_carried_is_chosen() {
        let text = "#EXTM3U\n#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",URI=\"other.m3u8\"\n\
            #EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID=\"s\",DEFAULT=YES,URI=\"sound.m3u8\"\n\
            #EXT-X-STREAM-INF:BANDWIDTH=900,CODECS=\"mp4a.40.2\"\nsound-only.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=500,RESOLUTION=1x1,CODECS=\"avc1.4d,mp4a.40.2\",AUDIO=\"s\"\nlow.m3u8\n\
            #EXT-X-STREAM-INF:BANDWIDTH=800,RESOLUTION=2x2,CODECS=\"hvc1.1,mp4a.40.2\"\nhigh.m3u8\n";
        let Ok(Playlist::Master(master)) = Playlist::parse(text) else { panic!("it is one") };
        let chosen = |is_carried: fn(&str) -> bool| {
            let (variant, sound) = master.best(is_carried).expect("there is one");
            (variant.uri.as_str(), sound.and_then(|sound| sound.uri.as_deref()))
        };
        assert_eq!(chosen(|_| true), ("high.m3u8", None));
        assert_eq!(chosen(|codec| !codec.starts_with("hvc1")), ("low.m3u8", Some("sound.m3u8")));
        assert_eq!(chosen(|_| false), ("high.m3u8", None), "then it is seen what is in it");
    }

    #[test]
    fn what_makes_no_sense_is_refused_and_never_panics() {
        for text in [
            "",
            "a.ts",
            "#EXTM3U\n#EXTINF:-1,\na",
            "#EXTM3U\n#EXTINF:1e300,\na",
            "#EXTM3U\n#EXTINF:NaN,\na",
            "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-1",
            "#EXTM3U\n#EXT-X-BYTERANGE:x",
            "#EXTM3U\n#EXT-X-MAP:",
            "#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"k\"",
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128",
            "#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\",IV=0x",
        ] {
            assert!(Playlist::parse(text).is_err(), "{text}");
        }
        let whole = "#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:18446744073709551615\n#EXTINF:1,\na\n#EXT-X-BYTERANGE:18446744073709551615@18446744073709551615\n#EXTINF:1\nb\n#EXT-X-KEY:METHOD=AES-128,URI=\"k\n";
        for end in 0..=whole.len() {
            let _ = Playlist::parse(&whole[..end]).map(|list| match list {
                Playlist::Media(media) => (media.beginning(), media.end()),
                Playlist::Master(_) => (0, 0),
            });
        }
    }
}
