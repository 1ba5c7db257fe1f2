//! What a source will cost, as far as its description says: before anything of it is opened.

use super::{Media, Source};
use crate::admission::{Ask, CheaperEncoding, Kind, Media as Played, Ways, Work};

impl Source {
    /// What a stream of it, with these outputs, is for admission. `has_reels`: looped files play from reels.
    ///
    /// The worst case counts: what may have to be encoded is taken to be encoded. Where only sound is encoded, as for a mix, it counts as
    /// copied.
    pub(crate) fn ask(&self, ways: Ways, has_reels: bool) -> Ask {
        let work = if self.wish.copies_pictures() { self.copied(has_reels) } else { self.encoded(has_reels) };
        let media = match &self.media {
            Media::File { path, .. } => Some(Played::File(path.clone())),
            Media::Published { name, .. } => Some(Played::Published(name.clone())),
            Media::Playlist(_) | Media::Pull(_) | Media::Fragments(_) => None,
            #[cfg(feature = "libav")]
            Media::Frames(_) => None,
        };
        let kind = Kind { work, has_fallback: self.fallback.is_some(), ways };
        Ask { kind, media, is_once: matches!(self.media, Media::File { looped: false, .. }) }
    }

    fn copied(&self, has_reels: bool) -> Work {
        match &self.media {
            Media::Published { .. } | Media::Pull(_) => Work::Restream,
            Media::File { looped: false, .. } | Media::Fragments(_) => Work::Direct,
            #[cfg(feature = "libav")]
            Media::Frames(_) => Work::Encode(self.wish.encode_kind()),
            Media::File { .. } | Media::Playlist(_) if has_reels => Work::Reel,
            Media::File { .. } | Media::Playlist(_) => Work::Direct,
        }
    }

    #[cfg(feature = "libav")]
    fn encoded(&self, _: bool) -> Work {
        Work::Encode(self.wish.encode_kind())
    }

    /// It is refused when it is opened.
    #[cfg(not(feature = "libav"))]
    fn encoded(&self, has_reels: bool) -> Work {
        self.copied(has_reels)
    }

    /// The same, brought down to a cheaper encode; `None` for what is copied.
    pub(crate) fn lowered(&self, to: &CheaperEncoding) -> Option<Self> {
        // All renditions of a source have one rate, and each its size: that is why there are several.
        if self.wish.copies_pictures() || self.rung.is_some() {
            return None;
        }
        let mut lowered = self.clone();
        lowered.wish.lowered = Some(to.clone());
        Some(lowered)
    }
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use super::*;
    use crate::playlist::Playlist;
    use crate::transcode::{Mode, Profile};

    #[test]
    fn what_is_known_before_it_is_opened_says_what_it_will_cost() {
        let of = |source: Source, has_reels| source.ask(Ways::default(), has_reels);
        let looped = || Source::file("a.mp4").looped();
        let ask = of(looped(), true);
        assert_eq!((ask.kind.work, ask.is_once), (Work::Reel, false));
        assert_eq!(ask.media, Some(Played::File("a.mp4".into())));
        assert_eq!(of(looped(), false).kind.work, Work::Direct);
        let ask = of(Source::file("a.mp4"), true);
        assert_eq!((ask.kind.work, ask.is_once), (Work::Direct, true));
        assert_eq!(of(Source::playlist(Playlist::files(["a.mp4"])), true).kind.work, Work::Reel);
        let ask = of(Source::published("studio").fallback("slate.mp4"), true);
        assert_eq!((ask.kind.work, ask.kind.has_fallback), (Work::Restream, true));
        // What may have to be encoded is taken to be.
        for mode in [Mode::Auto, Mode::Encode] {
            let work = of(looped().mode(mode).encoding(Profile::Ultra), true).kind.work;
            assert!(matches!(work, Work::Encode(kind) if kind.preset == "ultrafast" && kind.kbps == 1500));
        }
        let lower = CheaperEncoding::default().with(|lower| lower.size = Some((640, 360)));
        assert!(looped().lowered(&lower).is_none(), "a copy cannot be lowered");
        let lowered = looped().mode(Mode::Encode).lowered(&lower).expect("it is encoded");
        assert!(
            matches!(of(lowered, true).kind.work, Work::Encode(kind) if kind.most_size == Some((640, 360)))
        );
    }
}
