//! What the platforms a stream goes to allow: the figures of a profile are brought within it.

use std::time::Duration;

use super::encoding::FrameRate;
use crate::admission::CheaperEncoding;
use crate::bit_rate::BitRate;
use crate::verdict::Platform;

/// The limits of all platforms together; without any, there are none.
#[derive(Debug, Clone, Default)]
pub(super) struct Limits(Option<Platform>);

impl Limits {
    pub(super) fn of(platforms: &[Platform]) -> Self {
        Self(Platform::intersection(platforms))
    }

    /// What an encode is to be brought down to, as limits; without it, there are none.
    pub(super) fn lowered(to: Option<&CheaperEncoding>) -> Self {
        Self(to.map(|to| {
            let mut most = Platform::any();
            (most.max_size, most.max_frame_rate, most.max_bit_rate) =
                (to.size, to.frame_rate, to.video_bit_rate);
            most
        }))
    }

    /// Longer and shorter side of the largest picture that is allowed, if there is one.
    pub(super) fn most_size(&self) -> Option<(u32, u32)> {
        self.0.as_ref().and_then(|limits| limits.max_size)
    }

    /// A size of the same shape that is allowed, whichever way it is turned.
    pub(super) fn size(&self, (width, height): (u32, u32)) -> (u32, u32) {
        let Some((longer, shorter)) = self.0.as_ref().and_then(|limits| limits.max_size) else {
            return (width, height);
        };
        let most = if width >= height { (longer, shorter) } else { (shorter, longer) };
        let ratio = |most: u32, side: u32| f64::from(most) / f64::from(side.max(1));
        let shrink = ratio(most.0, width).min(ratio(most.1, height)).min(1.0);
        let even = |side: u32, most: u32| {
            let side = (f64::from(side) * shrink / 2.0).round() as u32 * 2;
            side.clamp(16, most.max(16))
        };
        if shrink < 1.0 { (even(width, most.0), even(height, most.1)) } else { (width, height) }
    }

    /// The rate itself, or a whole part of it that is allowed.
    pub(super) fn frame_rate(&self, rate: FrameRate) -> FrameRate {
        let most = self.0.as_ref().and_then(|limits| limits.max_frame_rate);
        let Some(most) = most.filter(|most| rate.as_f64() > most + 0.001) else { return rate };
        let part = |part: u32| match rate.num().is_multiple_of(part) {
            true => FrameRate::new(rate.num() / part, rate.den()),
            false => FrameRate::new(rate.num(), rate.den() * part),
        };
        (2..=8)
            .filter_map(part)
            .find(|part| part.as_f64() <= most + 0.001)
            .unwrap_or(FrameRate::whole(most as u32))
    }

    /// Thousand bits per second of a picture of this size and rate.
    pub(super) fn video_kbps(&self, kbps: u32, (width, height): (u32, u32), rate: FrameRate) -> u32 {
        let Some(limits) = &self.0 else { return kbps };
        let row = limits.bit_rates_of(width, height, rate.as_f64());
        let (least, of_size) = (row.and_then(|row| row.min), row.and_then(|row| row.max));
        within(kbps, least, limits.max_bit_rate.into_iter().chain(of_size).min())
    }

    pub(super) fn gop(&self, gop: Duration) -> Duration {
        self.0.as_ref().and_then(|limits| limits.gop_max).map_or(gop, |most| gop.min(most))
    }

    pub(super) fn b_frames(&self, b_frames: u32) -> u32 {
        let most = self.0.as_ref().and_then(|limits| limits.max_b_frames);
        most.map_or(b_frames, |most| b_frames.min(most))
    }

    /// The profile itself, or the lowest above it that is wanted.
    pub(super) fn h264_profile(&self, profile: &'static str) -> &'static str {
        const RISING: [&str; 3] = ["baseline", "main", "high"];
        let Some(limits) = self.0.as_ref().filter(|limits| !limits.profiles.is_empty()) else {
            return profile;
        };
        let wanted = |name: &&str| limits.profiles.iter().any(|wanted| wanted.eq_ignore_ascii_case(name));
        RISING.into_iter().skip_while(|name| *name != profile).find(wanted).unwrap_or(profile)
    }

    pub(super) fn audio_kbps(&self, kbps: u32) -> u32 {
        let Some(limits) = &self.0 else { return kbps };
        within(kbps, limits.audio_min_bit_rate, limits.audio_max_bit_rate)
    }

    /// The source's rate where it is allowed, else a usual one that is.
    pub(super) fn sample_rate(&self, source: u32) -> u32 {
        const USUAL: [u32; 2] = [48_000, 44_100];
        let allowed = self.0.as_ref().map_or(&[][..], |limits| &*limits.sample_rates);
        let is_allowed = |rate: &u32| allowed.is_empty() || allowed.contains(rate);
        let candidates = USUAL.iter().filter(|rate| **rate == source).chain(&USUAL);
        candidates.copied().find(is_allowed).or(allowed.first().copied()).unwrap_or(48_000)
    }

    pub(super) fn channels(&self, channels: u32) -> u32 {
        let most = self.0.as_ref().and_then(|limits| limits.max_channels);
        most.map_or(channels, |most| channels.min(most.max(1)))
    }
}

/// The figure nearest to `kbps` that is allowed.
fn within(kbps: u32, least: Option<BitRate>, most: Option<BitRate>) -> u32 {
    let kbps = kbps.max(least.map_or(0, BitRate::whole_kbps));
    most.map_or(kbps, |most| kbps.min(most.whole_kbps()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(platforms: &[Platform]) -> Limits {
        Limits::of(platforms)
    }

    #[test]
    fn without_platforms_nothing_is_changed() {
        let none = limits(&[]);
        assert_eq!(none.size((7680, 4320)), (7680, 4320));
        assert_eq!(none.frame_rate(FrameRate::whole(120)), FrameRate::whole(120));
        assert_eq!(none.video_kbps(90_000, (640, 360), FrameRate::whole(30)), 90_000);
        assert_eq!((none.h264_profile("baseline"), none.b_frames(3), none.channels(2)), ("baseline", 3, 2));
        assert_eq!((none.sample_rate(44_100), none.sample_rate(22_050)), (44_100, 48_000));
    }

    #[test]
    fn what_is_too_much_is_brought_within() {
        let both = limits(&[Platform::twitch(), Platform::facebook()]);
        assert_eq!(both.size((3840, 2160)), (1920, 1080));
        assert_eq!(both.size((2160, 3840)), (1080, 1920), "the same on its side");
        assert_eq!(both.size((1280, 720)), (1280, 720));
        assert_eq!(both.size((4096, 2160)), (1920, 1012));
        assert_eq!(both.frame_rate(FrameRate::whole(100)), FrameRate::whole(50));
        assert_eq!(both.frame_rate(FrameRate::whole(60)), FrameRate::whole(60));
        assert_eq!(
            both.video_kbps(20_000, (1920, 1080), FrameRate::whole(60)),
            6_000,
            "the lower of two limits"
        );
        assert_eq!(
            both.video_kbps(800, (1920, 1080), FrameRate::whole(30)),
            3_000,
            "and no less than is wanted"
        );
        assert_eq!(both.h264_profile("baseline"), "main");
        assert_eq!(both.h264_profile("high"), "high");
        assert_eq!((both.audio_kbps(320), both.channels(6)), (256, 2));
        let mut real_time = Platform::any();
        real_time.max_b_frames = Some(0);
        assert_eq!(limits(&[real_time]).b_frames(2), 0);
    }
}
