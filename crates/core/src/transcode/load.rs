//! How much work an encode will be, as far as the request says: before its source is opened.

use super::encoding::{FrameRate, Wish};
use super::limits::Limits;
use crate::admission::EncodeKind;
use crate::bit_rate::BitRate;

/// What stands for a size or a rate that only the source knows.
const ANY_SIZE: (u32, u32) = (8192, 8192);
const ANY_RATE: u32 = 239;

impl Wish {
    /// The preset it is encoded with.
    pub(super) fn preset(&self) -> &str {
        let own = self.encoding.preset.as_deref().unwrap_or(self.encoding.profile.figures().preset);
        self.lowered.as_ref().map_or(own, |lowered| lowered.preset(own))
    }

    /// How pictures are encoded, if they all are.
    pub(crate) fn encode_kind(&self) -> EncodeKind {
        let (encoding, limits) = (&self.encoding, Limits::of(&self.platforms));
        let lowered = Limits::lowered(self.lowered.as_ref());
        let size = encoding.size.map(|size| lowered.size(size));
        let frame_rate = encoding.frame_rate.map(|rate| whole(lowered.frame_rate(rate)));
        // The tightest box that is named: that of the platforms, or what it is lowered to.
        let boxes = [self.lowered.as_ref().and_then(|lowered| lowered.size), limits.most_size()];
        let most_size = boxes.into_iter().flatten().min_by_key(|(longer, shorter)| longer * shorter);
        let most_rate = whole(lowered.frame_rate(limits.frame_rate(FrameRate::whole(ANY_RATE))));
        let figures = encoding.profile.figures();
        let at = (size.or(most_size).unwrap_or(ANY_SIZE), FrameRate::whole(most_rate));
        let kbps = encoding
            .video_bit_rate
            .map_or_else(|| limits.video_kbps(figures.kbps, at.0, at.1), BitRate::whole_kbps);
        EncodeKind {
            codec: encoding.video_codec.as_str(),
            preset: self.preset().to_owned(),
            size,
            frame_rate,
            most_size: most_size.filter(|_| size.is_none()),
            most_frame_rate: (frame_rate.is_none() && most_rate < ANY_RATE).then_some(most_rate),
            kbps: lowered.video_kbps(kbps, at.0, at.1),
        }
    }
}

/// Frames per second, rounded.
fn whole(rate: FrameRate) -> u32 {
    rate.as_f64().round() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::CheaperEncoding;
    use crate::transcode::{Encoding, Profile};
    use crate::verdict::Platform;

    fn wish(change: impl FnOnce(&mut Wish)) -> EncodeKind {
        let mut wish = Wish { encoding: Encoding::new(Profile::High), ..Wish::default() };
        change(&mut wish);
        wish.encode_kind()
    }

    #[test]
    fn what_is_asked_for_is_what_it_costs_and_what_is_not_said_is_left_to_the_source() {
        let kind = wish(|_| {});
        assert_eq!((kind.codec, kind.preset.as_str(), kind.kbps), ("h264", "fast", 3000));
        assert_eq!(
            (kind.size, kind.frame_rate, kind.most_size, kind.most_frame_rate),
            (None, None, None, None)
        );
        let kind = wish(|wish| wish.platforms = vec![Platform::twitch()]);
        assert_eq!((kind.size, kind.most_size, kind.most_frame_rate), (None, Some((1920, 1080)), Some(60)));
        let kind = wish(|wish| {
            (wish.encoding.size, wish.encoding.frame_rate) =
                (Some((1280, 720)), FrameRate::new(30_000, 1001));
            wish.encoding.preset = Some("slow".to_owned());
        });
        assert_eq!((kind.size, kind.frame_rate, kind.preset.as_str()), (Some((1280, 720)), Some(30), "slow"));
        assert_eq!((kind.most_size, kind.most_frame_rate), (None, None));
    }

    #[test]
    fn what_is_lowered_is_never_raised() {
        let lower = |lowered: CheaperEncoding| move |wish: &mut Wish| wish.lowered = Some(lowered);
        let small = CheaperEncoding::default().with(|lowered| {
            (lowered.size, lowered.frame_rate) = (Some((640, 360)), Some(25.0));
            (lowered.preset, lowered.video_bit_rate) =
                (Some("superfast".to_owned()), Some(BitRate::from_kbps(800)));
        });
        let kind = wish(lower(small.clone()));
        assert_eq!((kind.preset.as_str(), kind.kbps), ("superfast", 800));
        assert_eq!((kind.most_size, kind.most_frame_rate), (Some((640, 360)), Some(25)));
        let kind = wish(|wish| {
            (wish.encoding.size, wish.encoding.frame_rate) = (Some((1080, 1920)), Some(FrameRate::whole(50)));
            lower(small.clone())(wish);
        });
        assert_eq!(
            (kind.size, kind.frame_rate),
            (Some((360, 640)), Some(25)),
            "on its side, and half the rate"
        );
        let kind = wish(|wish| {
            (wish.encoding.size, wish.encoding.preset) = (Some((320, 180)), Some("ultrafast".to_owned()));
            wish.encoding.video_bit_rate = Some(BitRate::from_kbps(300));
            lower(small)(wish);
        });
        assert_eq!((kind.size, kind.preset.as_str(), kind.kbps), (Some((320, 180)), "ultrafast", 300));
    }
}
