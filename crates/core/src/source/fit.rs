//! A source that is encoded to be like what is on the air.
//!
//! In: what is asked for, and the parameters of the stream. Out: the same, with what it leaves open taken from the stream.

use super::Source;
use crate::standby::{Parameters, Pictures};
use crate::transcode::{AudioCodec, FrameRate, VideoCodec, usual_rates};

/// A rate in use is meant by one that is this near to it, as a part of it.
const NEAR: f64 = 0.02;

/// The source, encoded to what is on the air as far as it asks for nothing else; `None` if it is not encoded, or nothing is known
/// that it could be encoded to.
pub(super) fn fitted(source: &Source, on_air: &Parameters) -> Option<Source> {
    if source.wish.is_copy() {
        return None;
    }
    let mut fitted = source.clone();
    let encoding = &mut fitted.wish.encoding;
    let mut fits = false;
    if let Some(pictures) = on_air.pictures.filter(is_encodable)
        && encoding.video_codec == VideoCodec::H264
    {
        fits = true;
        encoding.size.get_or_insert(pictures.size);
        if encoding.frame_rate.is_none() {
            encoding.frame_rate = pictures.rate.and_then(meant);
        }
        let (profile, tools) = profile(pictures.profile);
        encoding.h264_profile.get_or_insert_with(|| profile.to_owned());
        // The last of a name wins: what was asked for is kept.
        let level = format!("level={}.{}", pictures.level / 10, pictures.level % 10);
        let asked = std::mem::take(&mut encoding.x264_params);
        let parameters = [tools, level.as_str(), asked.as_str()].into_iter().filter(|text| !text.is_empty());
        encoding.x264_params = parameters.collect::<Vec<_>>().join(":");
        // Pictures of what comes next are never shown before those that were sent last.
        encoding.b_frames.get_or_insert(0);
    }
    if let Some((rate, channels)) = on_air.sound
        && encoding.audio.codec == AudioCodec::Aac
    {
        fits = true;
        encoding.audio.sample_rate.get_or_insert(rate);
        encoding.audio.channels.get_or_insert(channels.into());
    }
    (fits && fitted.wish.check().is_ok()).then_some(fitted)
}

fn is_encodable(pictures: &Pictures) -> bool {
    let (width, height) = pictures.size;
    width % 2 == 0 && height % 2 == 0
}

/// A profile, and x264's parameters for what makes it that one: the fastest presets leave it out.
fn profile(profile_idc: u8) -> (&'static str, &'static str) {
    match profile_idc {
        0..=66 => ("baseline", ""),
        67..=99 => ("main", "cabac=1:8x8dct=0"),
        _ => ("high", "cabac=1:8x8dct=1"),
    }
}

/// The rate that is meant by one that was measured.
fn meant(rate: f64) -> Option<FrameRate> {
    let off = |usual: &FrameRate| (usual.as_f64() / rate - 1.0).abs();
    let nearest = usual_rates().min_by(|one, other| off(one).total_cmp(&off(other)));
    nearest
        .filter(|usual| off(usual) <= NEAR)
        .or_else(|| FrameRate::new((rate * 1000.0).round() as u32, 1000))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcode::{Encoding, Mode, Profile};

    const PICTURES: Pictures = Pictures { size: (1280, 720), profile: 77, level: 31, rate: Some(29.99) };

    fn on_air() -> Parameters {
        Parameters { pictures: Some(PICTURES), sound: Some((44_100, 1)), ..Parameters::default() }
    }

    #[test]
    fn what_is_left_open_is_taken_from_the_stream() {
        let source = Source::file("slate.mp4").mode(Mode::Encode);
        let encoding = fitted(&source, &on_air()).expect("it is encoded").wish.encoding;
        assert_eq!((encoding.size, encoding.h264_profile.as_deref()), (Some((1280, 720)), Some("main")));
        assert_eq!(
            (encoding.x264_params.as_str(), encoding.b_frames),
            ("cabac=1:8x8dct=0:level=3.1", Some(0))
        );
        assert_eq!((encoding.audio.sample_rate, encoding.audio.channels), (Some(44_100), Some(1)));
        assert_eq!(encoding.frame_rate, FrameRate::new(30, 1), "30000/1001 is further off");
    }

    #[test]
    fn what_is_asked_for_stays_and_what_is_copied_is_left_alone() {
        let mut asked = Encoding::new(Profile::High);
        (asked.size, asked.x264_params) = (Some((640, 360)), "level=4.0".to_owned());
        let source = Source::file("slate.mp4").mode(Mode::Encode).encoding(asked);
        let encoding = fitted(&source, &on_air()).expect("it is encoded").wish.encoding;
        assert_eq!(
            (encoding.size, encoding.x264_params.as_str()),
            (Some((640, 360)), "cabac=1:8x8dct=0:level=3.1:level=4.0")
        );
        assert!(fitted(&Source::file("slate.mp4"), &on_air()).is_none());
        assert!(fitted(&source, &Parameters::default()).is_none(), "nothing is known");
        let odd =
            Parameters { pictures: Some(Pictures { size: (641, 360), ..PICTURES }), ..Parameters::default() };
        assert!(fitted(&source, &odd).is_none(), "no encoder makes that");
    }
}
