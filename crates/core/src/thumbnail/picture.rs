//! A keyframe as libav has it.
//!
//! In: a tag and the headers that hold there. Out: a track and a packet.

use flowcast_av as av;
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::picture;
use flowcast_rtmp::flv::tag::Codec;

use crate::error::Error;
use crate::ring::Keyframe;

/// The track of a keyframe, and its packet.
///
/// # Errors
///
/// [`Error::Media`] for a tag that holds no picture.
pub(super) fn of(keyframe: &Keyframe) -> Result<(av::TrackInfo, av::Packet), Error> {
    let empty = || {
        Error::Media(av::Error::Damaged {
            track: 0,
            pts: None,
            message: "the keyframe holds no picture".to_owned(),
        })
    };
    let found = coded(&keyframe.tag).ok_or_else(empty)?;
    let (Codec::Video(codec), Part::Frames { composition_time, data }) = (found.codec, found.part) else {
        return Err(empty());
    };
    let mut headers = keyframe.headers.tags().filter(|tag| tag.is_video() && tag.track() == 0);
    let config = headers.find_map(|tag| match coded(tag)?.part {
        Part::Config(config) => Some(config),
        Part::Frames { .. } => None,
    });
    let mut track =
        av::TrackInfo::new(0, av::TrackKind::Video, av::Codec::from_name(codec.name()), av::TimeBase::MILLIS);
    let size = picture::size(codec, &config.clone().unwrap_or_default(), &data);
    track.config = config.filter(|config| !config.is_empty());
    track.video = size.map(|(width, height)| av::VideoInfo::of_size(width, height));
    let dts = keyframe.tag.timestamp.as_millis();
    let mut packet = av::Packet::new(0, Some(dts + i64::from(composition_time)), Some(dts), data);
    packet.keyframe = true;
    Ok((track, packet))
}
