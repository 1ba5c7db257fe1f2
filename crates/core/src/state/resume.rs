//! Where a stream goes on: the place it had, moved by the time that has passed.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Place, Resume, SavedStream};
use crate::playlist::Playlist;
use crate::source::{Media, Source};
use crate::stats::Playing;

/// Files that are opened to learn their lengths, at most, for one stream.
const MOST_LOOKS: usize = 1000;

/// What becomes of a stream that is restored.
#[derive(Debug)]
pub(crate) enum Resumed {
    /// It goes on with this.
    At(Box<Source>),
    /// It would have ended by now.
    Over,
}

/// The lengths of files, each looked at once.
struct Lengths<'a> {
    look: &'a mut dyn FnMut(&Path) -> Option<Duration>,
    known: HashMap<PathBuf, Option<Duration>>,
}

impl Lengths<'_> {
    fn of(&mut self, file: &Path) -> Option<Duration> {
        if let Some(known) = self.known.get(file) {
            return *known;
        }
        if self.known.len() >= MOST_LOOKS {
            return None;
        }
        let length = (self.look)(file).filter(|length| !length.is_zero());
        self.known.insert(file.to_owned(), length);
        length
    }
}

/// Where a list is to be begun.
#[derive(Debug, PartialEq, Eq)]
enum Walked {
    /// With this item, so far into it.
    To(Option<usize>, Duration),
    Over,
}

/// Where `playing` is, in `source` if that is a list; `sound` is the list of its sound.
pub(crate) fn place_of(playing: &Playing, source: &Source, sound: bool) -> Place {
    let list = match (&source.media, &source.sound, sound) {
        (_, Some(list), true) => Some(list),
        (Media::Playlist(list), _, false) => Some(list),
        _ => None,
    };
    let item = list.zip(playing.item).and_then(|(list, id)| list.number_of(id));
    Place { item, file: playing.path.clone(), offset: playing.position, length: playing.length }
}

/// The source a stream goes on with, `away` after it was saved. `look` says how long a file is.
///
/// # Blocking
///
/// On directories and list files, and on `look`.
pub(crate) fn resumed(
    stream: &SavedStream,
    resume: Resume,
    away: Duration,
    look: &mut dyn FnMut(&Path) -> Option<Duration>,
) -> Resumed {
    let mut source = stream.spec.source.clone();
    let away = match resume {
        Resume::FromStart => {
            let from = source.start_at;
            source.go_on_at(from);
            return Resumed::At(Box::new(source));
        }
        Resume::WhereItWas => Duration::ZERO,
        Resume::WhereItWouldBe => away,
    };
    let mut lengths = Lengths { look, known: HashMap::new() };
    if let (Some(place), Some(list)) = (&stream.sound_place, &source.sound) {
        let list = ListOrder::of(list);
        // A list of sound that is over is no reason to show no pictures: it begins again.
        if let Walked::To(item, offset) = walk(&list, place, away, &mut lengths) {
            source.sound_at = (item, offset);
        }
    }
    let Some(place) = &stream.place else { return Resumed::At(Box::new(source)) };
    match &source.media {
        Media::Published { .. } | Media::Pull(_) | Media::Fragments(_) => {}
        #[cfg(feature = "libav")]
        Media::Frames(_) => {}
        // A fallback was on the air.
        Media::File { path, .. } if *path != place.file => {}
        Media::File { looped, .. } => match in_file(place, *looped, away, &mut lengths) {
            Some(offset) => source.go_on_at(offset),
            None => return Resumed::Over,
        },
        Media::Playlist(list) => match walk(&ListOrder::of(list), place, away, &mut lengths) {
            Walked::To(item, offset) => (source.start_item, source.start_at) = (item, offset),
            Walked::Over => return Resumed::Over,
        },
    }
    Resumed::At(Box::new(source))
}

/// How far into the file; `None` if it would be over.
fn in_file(place: &Place, looped: bool, away: Duration, lengths: &mut Lengths<'_>) -> Option<Duration> {
    let at = place.offset + away;
    if away.is_zero() {
        return Some(at);
    }
    match place.length.or_else(|| lengths.of(&place.file)) {
        Some(length) if at < length => Some(at),
        Some(length) if looped && !length.is_zero() => Some(remainder(at, length)),
        Some(_) => None,
        None => Some(place.offset),
    }
}

fn remainder(at: Duration, length: Duration) -> Duration {
    let nanos = at.as_nanos() % length.as_nanos().max(1);
    Duration::new(
        u64::try_from(nanos / 1_000_000_000).unwrap_or(u64::MAX),
        u32::try_from(nanos % 1_000_000_000).unwrap_or(0),
    )
}

/// How a list goes on, and its files.
#[derive(Debug)]
struct ListOrder {
    is_shuffled: bool,
    is_once: bool,
    files: Vec<PathBuf>,
}

impl ListOrder {
    /// A list that cannot be read is empty here: starting the stream says why.
    fn of(list: &Playlist) -> Self {
        if let Err(error) = list.load() {
            log::warn!("{error}");
        }
        let (is_shuffled, is_once, files) = list.order_and_files();
        Self { is_shuffled, is_once, files }
    }
}

/// Goes through a list from `place` on, for as long as `away`.
fn walk(list: &ListOrder, place: &Place, away: Duration, lengths: &mut Lengths<'_>) -> Walked {
    let is_there = |number: &usize| list.files.get(*number) == Some(&place.file);
    let found = place.item.filter(is_there);
    // The directory, or the list's file, may have changed.
    let Some(first) = found.or_else(|| list.files.iter().position(|file| *file == place.file)) else {
        return Walked::To(None, Duration::ZERO);
    };
    let mut left = place.offset + away;
    if away.is_zero() {
        return Walked::To(Some(first), left);
    }
    let (mut number, mut round) = (first, Duration::ZERO);
    loop {
        let known = place.length.filter(|_| number == first);
        let length = match (list.files.get(number), known) {
            (_, Some(length)) => Some(length),
            (Some(file), None) => lengths.of(file),
            (None, None) => None,
        };
        let Some(length) = length else {
            // Nobody knows how long this one takes.
            let offset = if number == first { place.offset } else { Duration::ZERO };
            return Walked::To(Some(number), offset);
        };
        if left < length {
            return Walked::To(Some(number), left);
        }
        if list.is_shuffled {
            // Any other one.
            return Walked::To(None, Duration::ZERO);
        }
        left -= length;
        round += length;
        number += 1;
        if number == list.files.len() {
            if list.is_once {
                return Walked::Over;
            }
            number = 0;
        }
        if number == first {
            left = remainder(left, round);
        }
    }
}

/// How long a file is, as that says.
#[cfg(feature = "libav")]
pub(crate) fn length_of(file: &Path) -> Option<Duration> {
    let (options, interrupt) = (flowcast_av::OpenOptions::default(), flowcast_av::Interrupt::new());
    flowcast_av::Demuxer::open(file, &options, &interrupt).ok()?.media().duration
}

/// Nobody can tell.
#[cfg(not(feature = "libav"))]
pub(crate) fn length_of(_: &Path) -> Option<Duration> {
    None
}
