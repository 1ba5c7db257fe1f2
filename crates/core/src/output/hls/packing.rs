//! The bytes of segments: MP4 fragments (RFC 8216 section 3.3), or MPEG-TS (section 3.2).
//!
//! In: samples, and where a segment begins. Out: pieces of segments. What belongs to one segment is in no other. On the writer's thread.

use std::io;

use crate::output::file::mp4::boxes::Boxes;
use crate::output::file::mp4::lane::Lane;
use crate::output::file::mp4::moov;
use crate::output::media::{Sample, Track};

#[cfg(feature = "libav")]
use crate::output::file::{format::FileFormat, libav::Muxing};

/// How samples become bytes.
pub(super) enum Packing {
    Mp4(Fragments),
    #[cfg(feature = "libav")]
    Ts(Ts),
}

/// MP4.
pub(super) struct Fragments {
    lanes: Vec<Lane>,
    /// Whether each of them has pictures, and how long after its decoding the first one is shown, in milliseconds.
    pictures: Vec<(bool, Option<i64>)>,
    number: u32,
}

/// MPEG-TS.
#[cfg(feature = "libav")]
pub(super) struct Ts {
    muxing: Muxing,
}

impl Packing {
    /// MPEG-TS of these tracks, in the first segment of a playlist or `behind` others.
    ///
    /// # Errors
    ///
    /// What libav said; `Unsupported` without it.
    pub(super) fn ts(tracks: &[Track], behind: bool) -> io::Result<Self> {
        #[cfg(feature = "libav")]
        {
            let first = || Muxing::new(FileFormat::MpegTs, tracks);
            let muxing = if behind { Muxing::behind_another(tracks)? } else { first()? };
            Ok(Self::Ts(Ts { muxing }))
        }
        #[cfg(not(feature = "libav"))]
        {
            let _ = (tracks, behind);
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// MP4 of these tracks.
    pub(super) fn mp4(tracks: &[Track]) -> Self {
        let lanes =
            tracks.iter().cloned().enumerate().map(|(place, track)| Lane::new(place, track)).collect();
        let pictures = tracks.iter().map(|track| (track.is_video(), None)).collect();
        Self::Mp4(Fragments { lanes, pictures, number: 0 })
    }

    /// What a player has to have before segments with these tracks; `None` if that is in each of them.
    pub(super) fn header(&self, tracks: &[Track]) -> Option<Vec<u8>> {
        match self {
            Self::Mp4(_) => {
                let mut boxes = Boxes::new();
                moov::header(&mut boxes, tracks);
                Some(boxes.into_vec())
            }
            #[cfg(feature = "libav")]
            Self::Ts(_) => None,
        }
    }

    /// What each segment begins with.
    pub(super) fn beginning(&self) -> Vec<u8> {
        match self {
            Self::Mp4(_) => {
                let mut boxes = Boxes::new();
                boxes.nest(b"styp", |boxes| {
                    boxes.bytes(b"msdh").u32(0).bytes(b"msdhmsix");
                });
                boxes.into_vec()
            }
            #[cfg(feature = "libav")]
            Self::Ts(_) => Vec::new(),
        }
    }

    /// Takes a sample of the segment that is written.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(super) fn take(&mut self, sample: Sample) -> io::Result<()> {
        match self {
            Self::Mp4(fragments) => fragments.take(sample),
            #[cfg(feature = "libav")]
            Self::Ts(ts) => ts.muxing.write(sample)?,
        }
        Ok(())
    }

    /// Takes the first sample of a segment; what the segment before ends with. Samples that came earlier, but whose duration shows only with those that follow, go
    /// to the new one.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(super) fn cut(&mut self, sample: Sample) -> io::Result<Vec<u8>> {
        match self {
            Self::Mp4(fragments) => {
                fragments.take(sample);
                Ok(fragments.fragment())
            }
            #[cfg(feature = "libav")]
            Self::Ts(ts) => {
                ts.muxing.flush()?;
                let before = ts.muxing.take().appended;
                ts.muxing.say_tables()?;
                ts.muxing.write(sample)?;
                Ok(before)
            }
        }
    }

    /// What is whole of the segment that is written.
    pub(super) fn pieces(&mut self) -> Vec<u8> {
        match self {
            Self::Mp4(fragments) => fragments.fragment(),
            #[cfg(feature = "libav")]
            Self::Ts(ts) => ts.muxing.take().appended,
        }
    }

    /// Nothing follows in this segment; its rest.
    ///
    /// # Errors
    ///
    /// What libav said.
    pub(super) fn end(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Mp4(fragments) => {
                fragments.lanes.iter_mut().for_each(Lane::end);
                Ok(fragments.fragment())
            }
            #[cfg(feature = "libav")]
            Self::Ts(ts) => {
                ts.muxing.flush()?;
                Ok(ts.muxing.take().appended)
            }
        }
    }
}

impl Fragments {
    /// Pictures are told to be decoded when the first of them is shown, with negative offsets, as CMAF has them: hls.js puts the decoding time of what is
    /// behind a discontinuity where the segment before it ends, and would have a hole there.
    fn take(&mut self, mut sample: Sample) {
        if let Some((true, delay)) = self.pictures.get_mut(sample.track) {
            sample.dts_ms += *delay.get_or_insert(sample.pts_ms - sample.dts_ms);
        }
        if let Some(lane) = self.lanes.get_mut(sample.track) {
            lane.take(sample);
        }
    }

    /// What waits as a fragment; empty if nothing does.
    fn fragment(&mut self) -> Vec<u8> {
        let mut boxes = Boxes::new();
        let places = moov::fragment(&mut boxes, self.number + 1, &self.lanes);
        if places.is_empty() {
            return Vec::new();
        }
        self.number = self.number.wrapping_add(1);
        for place in places {
            if let Some(lane) = self.lanes.get_mut(place) {
                lane.drain().for_each(|data| {
                    boxes.bytes(&data);
                });
            }
        }
        boxes.into_vec()
    }
}
