//! Pictures that are decoded once and go to several who encode them.
//!
//! In: pictures as a decoder gives them. Out: the same, upright, whole and with square pixels, to [`Viewers`], who take care of themselves:
//! what becomes of a picture with one of them is no matter of the others. Runs on the thread that decodes.

use std::collections::VecDeque;
use std::fmt::Debug;

use flowcast_av::{Packet, TrackInfo, VideoFrame, VideoInfo};

use super::decode::{Decoded, FrameStage};
use super::pictures::shown_color;
use super::settle::shown_size;
use super::shaper::Shaper;
use crate::error::Error;
use crate::event::EventKind;

/// The pixel format of what viewers get.
const PIXELS: &str = "yuv420p";

/// Who gets the pictures.
pub(crate) trait Viewers: Debug + Send {
    /// The next picture, with its time in ticks of the track.
    fn see(&mut self, picture: VideoFrame);

    /// No picture follows. All tracks end at `all_end` milliseconds, if that is known.
    fn end(&mut self, all_end: Option<i64>);
}

/// Brings pictures into shape once for all viewers.
#[derive(Debug)]
pub(super) struct Spread {
    shaper: Shaper,
    waiting: Option<Decoded<VideoFrame>>,
    viewers: Box<dyn Viewers>,
}

/// What a track is described as once its pictures are upright, whole and of square pixels.
pub(crate) fn as_shown(track: &TrackInfo) -> TrackInfo {
    let (width, height) = shown_size(track);
    let known = track.video.as_ref();
    let video = VideoInfo {
        frame_rate: known.and_then(|video| video.frame_rate),
        real_frame_rate: known.and_then(|video| video.real_frame_rate),
        pixel_format: PIXELS.to_owned(),
        color: known.map(shown_color).unwrap_or_default(),
        ..VideoInfo::of_size(width, height)
    };
    TrackInfo { video: Some(video), ..track.clone() }
}

impl Spread {
    /// Shows the pictures of `track` to `viewers`.
    pub(super) fn new(track: &TrackInfo, viewers: Box<dyn Viewers>) -> Self {
        let shaper = Shaper::to_size(track, shown_size(track), PIXELS);
        Self { shaper, waiting: None, viewers }
    }

    fn show_all(&mut self) -> Result<bool, Error> {
        let mut any = false;
        while let Some(picture) = self.shaper.pull()? {
            self.viewers.see(picture);
            any = true;
        }
        Ok(any)
    }
}

impl FrameStage for Spread {
    type Frame = VideoFrame;

    fn take(&mut self, decoded: Decoded<VideoFrame>) {
        self.waiting = Some(decoded);
    }

    fn work(&mut self, _: &mut VecDeque<Packet>, _: &mut Vec<EventKind>) -> Result<bool, Error> {
        match self.waiting.take() {
            Some(Decoded::Frame(picture)) => {
                self.shaper.push(picture);
                self.show_all()
            }
            Some(Decoded::End { all_end }) => {
                self.shaper.finish()?;
                self.show_all()?;
                self.viewers.end(all_end);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

#[cfg(test)]
mod tests {
    use flowcast_av::{Codec, Ratio, TimeBase, TrackKind};

    use super::*;

    #[test]
    fn a_track_is_described_as_it_is_shown() {
        let mut track = TrackInfo::new(0, TrackKind::Video, Codec::H264, TimeBase::MILLIS);
        let mut video = VideoInfo::of_size(720, 576);
        video.sample_aspect = Ratio::new(16, 11);
        video.rotation_degrees = 90;
        video.frame_rate = Ratio::new(25, 1);
        track.video = Some(video);
        let shown = as_shown(&track).video.expect("it has pictures");
        assert_eq!((shown.width, shown.height, shown.rotation_degrees), (576, 1048, 0));
        assert_eq!((shown.sample_aspect, shown.frame_rate), (None, Ratio::new(25, 1)));
    }
}
