//! Which tracks of a file go on the air.

use bytes::Bytes;
use flowcast_av::{Codec, MediaInfo, TrackInfo, TrackKind};
use flowcast_rtmp::flv::audio;
use flowcast_rtmp::flv::data::DataCodec;
use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::time::MediaTime;

use super::carriage::Carriage;

/// The tracks of a file that go on the air by copy, and why the others do not.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// The video track.
    pub video: Option<TrackInfo>,
    /// The audio track.
    pub audio: Option<TrackInfo>,
    /// Other sound that goes along: tracks 1, 2 and so on, in this order. None unless it is asked for.
    pub others: Vec<TrackInfo>,
    /// Timed data that goes along, in the order of its tracks' numbers. None unless it is asked for.
    pub data: Vec<TrackInfo>,
    /// Tracks left out.
    pub skipped: Vec<(usize, String)>,
}

impl Selection {
    /// Takes the first video track that can be carried, and the first audio track of its programme; the ones marked default before
    /// others. Sound that is in no programme goes with any picture, that of another programme with none.
    #[must_use]
    pub fn of(media: &MediaInfo, carriage: Carriage) -> Self {
        let mut selection = Self::default();
        let mut tracks: Vec<_> = media.tracks.iter().collect();
        tracks.sort_by_key(|track| (!track.default, track.index));
        for track in tracks.iter().filter(|track| track.kind == TrackKind::Video) {
            selection.offer(track, carriage);
        }
        let shares =
            |track: &TrackInfo| selection.video.as_ref().is_some_and(|video| track.shares_program(video));
        tracks.sort_by_key(|track| (!shares(track), !track.default, track.index));
        for track in tracks.iter().filter(|track| track.kind == TrackKind::Audio) {
            selection.offer(track, carriage);
        }
        selection.skipped.extend(media.tracks.iter().filter_map(|track| {
            let kind = match track.kind {
                TrackKind::Video | TrackKind::Audio => return None,
                TrackKind::Subtitle => "subtitles",
                TrackKind::Data => "data tracks",
                TrackKind::Attachment => "attached files",
                _ => "tracks of an unknown kind",
            };
            let codec = Some(track.codec.name()).filter(|name| !matches!(*name, "" | "none" | "unknown"));
            let codec = codec.map_or_else(String::new, |name| format!(": {name}"));
            Some((track.index, format!("{kind} are not sent{codec}")))
        }));
        selection.skipped.sort();
        selection
    }

    /// The same with what can be copied beside them: the other sound tracks of the picture's programme, and its timed data.
    #[must_use]
    pub(crate) fn with_others(mut self, media: &MediaInfo) -> Self {
        if self.video.is_none() {
            return self;
        }
        let skipped = std::mem::take(&mut self.skipped);
        for (index, reason) in skipped {
            let is_own = |track: &TrackInfo| self.video.as_ref().is_some_and(|video| track.goes_with(video));
            let data = media.track(index).filter(|track| {
                let is_known = DataCodec::from_name(track.codec.name()).is_some();
                track.kind == TrackKind::Data && is_known && is_own(track) && self.data.len() < MOST_OTHERS
            });
            if let Some(track) = data {
                self.data.push(track.clone());
                continue;
            }
            let more = media.track(index).filter(|track| {
                reason == ONE_OF_A_KIND
                    && track.kind == TrackKind::Audio
                    && other_code(&track.codec).is_some()
            });
            match more {
                Some(track) if self.others.len() < MOST_OTHERS => self.others.push(track.clone()),
                Some(_) => {
                    self.skipped.push((index, format!("only {MOST_OTHERS} tracks go beside the first")))
                }
                None => self.skipped.push((index, reason)),
            }
        }
        self
    }

    fn offer(&mut self, track: &TrackInfo, carriage: Carriage) {
        let is_foreign = track.kind == TrackKind::Audio
            && self.video.as_ref().is_some_and(|video| !track.goes_with(video));
        let place = if track.kind == TrackKind::Video { &mut self.video } else { &mut self.audio };
        let reason = if is_foreign {
            "it belongs to another programme than the picture".to_owned()
        } else if let Some(reason) = refusal(track, carriage) {
            reason
        } else if place.is_some() {
            ONE_OF_A_KIND.to_owned()
        } else {
            *place = Some(track.clone());
            return;
        };
        self.skipped.push((track.index, reason));
    }

    /// Whether nothing can be sent.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    /// The numbers of the tracks taken, the picture and the sound first.
    #[must_use]
    pub fn indices(&self) -> Vec<usize> {
        let media = self.video.iter().chain(&self.audio);
        media.chain(&self.others).chain(&self.data).map(|track| track.index).collect()
    }

    /// What a player gets about the stream before its first frame.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata {
            encoder: Some(concat!("flowcast ", env!("CARGO_PKG_VERSION")).to_owned()),
            ..Metadata::default()
        };
        let kbps = |bits: Option<u64>| bits.filter(|&bits| bits > 0).map(|bits| bits as f64 / 1000.0);
        if let Some(track) = &self.video {
            let code = four_cc(&track.codec).map(u32::from_be_bytes);
            metadata.videocodecid = Some(code.map_or(f64::from(VIDEO_AVC), f64::from));
            metadata.videodatarate_kbps = kbps(track.bit_rate);
            if let Some(info) = &track.video {
                metadata.width = Some(f64::from(info.width));
                metadata.height = Some(f64::from(info.height));
                metadata.framerate = info.frame_rate.map(|rate| rate.as_f64());
            }
        }
        if let Some(track) = &self.audio {
            let codec = if track.codec == Codec::Mp3 { AUDIO_MP3 } else { AUDIO_AAC };
            let code = four_cc(&track.codec).map(u32::from_be_bytes);
            metadata.audiocodecid = Some(code.map_or(f64::from(codec), f64::from));
            metadata.audiodatarate_kbps = kbps(track.bit_rate);
            metadata.audiosamplesize = Some(16.0);
            if let Some(info) = &track.audio {
                metadata.audiosamplerate = Some(f64::from(info.sample_rate));
                metadata.stereo = Some(info.channels >= 2);
            }
        }
        metadata
    }
}

/// The picture and the sound of a file that are played, whether they are copied or encoded.
#[derive(Debug, Clone, Default)]
pub(crate) struct Chosen {
    pub(crate) video: Option<TrackInfo>,
    pub(crate) audio: Option<TrackInfo>,
}

impl Chosen {
    /// The picture that can be carried, else the one that would be played; and of its programme the sound that can be carried, else
    /// the one that would be played.
    pub(crate) fn of(media: &MediaInfo, carriage: Carriage) -> Self {
        let copied = Selection::of(media, carriage).video.filter(TrackInfo::is_playable);
        let video = copied.or_else(|| media.video().cloned());
        let with_picture = |track: &&TrackInfo| video.as_ref().is_none_or(|video| track.goes_with(video));
        let shares = |track: &TrackInfo| video.as_ref().is_some_and(|video| track.shares_program(video));
        let audio = media
            .tracks
            .iter()
            .filter(|track| track.kind == TrackKind::Audio && track.is_playable())
            .filter(with_picture)
            .min_by_key(|track| (!shares(track), refusal(track, carriage).is_some(), !track.default))
            .cloned();
        Self { video, audio }
    }
}

const ONE_OF_A_KIND: &str = "only one track of a kind is sent";

/// Sound tracks that go beside the first one.
const MOST_OTHERS: usize = 7;

const VIDEO_AVC: u8 = 7;

const AUDIO_AAC: u8 = 10;

const AUDIO_MP3: u8 = 2;

/// The code of a codec that is carried with an Enhanced RTMP header.
pub(super) fn four_cc(codec: &Codec) -> Option<[u8; 4]> {
    Some(match codec {
        Codec::Hevc => *b"hvc1",
        Codec::Av1 => *b"av01",
        Codec::Vp9 => *b"vp09",
        Codec::Vp8 => *b"vp08",
        Codec::Opus => *b"Opus",
        _ => return None,
    })
}

/// The code of a codec of sound that goes beside other sound. MP3 is none: it has no header, from which a player that joins would know
/// of the track.
pub(super) fn other_code(codec: &Codec) -> Option<[u8; 4]> {
    match codec {
        Codec::Aac => Some(*b"mp4a"),
        Codec::Opus => Some(*b"Opus"),
        _ => None,
    }
}

/// Why a track cannot be sent by copy, if it cannot.
pub(super) fn refusal(track: &TrackInfo, carriage: Carriage) -> Option<String> {
    if track.attached_picture {
        return Some("cover art".to_owned());
    }
    match (&track.kind, &track.codec) {
        (TrackKind::Video, Codec::H264) => None,
        (TrackKind::Audio, Codec::Aac) if track.config.is_none() => Some(
            "AAC without a configuration: no frame was found that says its format and channels".to_owned(),
        ),
        (TrackKind::Audio, Codec::Aac) => None,
        (TrackKind::Audio, Codec::Mp3) => {
            let (rate, channels) = rate_and_channels(track);
            audio::mp3_frame(MediaTime::ZERO, rate, channels, Bytes::new())
                .err()
                .map(|error| error.to_string())
        }
        (_, codec) if four_cc(codec).is_some() => match (carriage, &track.config) {
            (Carriage::Plain, _) => {
                Some(format!("{} is sent over Enhanced RTMP only, which is not asked for", codec.name()))
            }
            (_, None) => Some(format!("{} without a configuration: no keyframe was found", codec.name())),
            (Carriage::Enhanced, Some(_)) => None,
        },
        (_, codec) => Some(format!("{} has no place in FLV, it would have to be encoded", codec.name())),
    }
}

/// Sampling rate in Hz and channels of an audio track; zeros if it does not say.
pub(super) fn rate_and_channels(track: &TrackInfo) -> (u32, u16) {
    let info = track.audio.as_ref();
    info.map_or((0, 0), |info| (info.sample_rate, u16::try_from(info.channels).unwrap_or(u16::MAX)))
}

#[cfg(test)]
mod tests {
    use flowcast_av::{AudioInfo, TimeBase, VideoInfo};

    use super::*;

    fn track(index: usize, codec: Codec, programs: &[i32]) -> TrackInfo {
        let is_video = matches!(codec, Codec::H264 | Codec::Hevc);
        let kind = if is_video { TrackKind::Video } else { TrackKind::Audio };
        let mut track = TrackInfo::new(index, kind, codec, TimeBase::MILLIS);
        track.config = Some(Bytes::from_static(&[0x11, 0x90]));
        track.programs = programs.to_vec();
        if is_video {
            track.video = Some(VideoInfo::of_size(64, 36));
        } else {
            let (layout, frame_samples) = ("stereo".to_owned(), 1024);
            let audio =
                AudioInfo { sample_rate: 48_000, channels: 2, layout, frame_samples, priming_samples: 0 };
            track.audio = Some(audio);
        }
        track
    }

    fn media(tracks: &[(Codec, &[i32])]) -> MediaInfo {
        MediaInfo {
            format: String::new(),
            duration: None,
            start_micros: None,
            bit_rate: None,
            tracks: tracks
                .iter()
                .enumerate()
                .map(|(index, (codec, programs))| track(index, codec.clone(), programs))
                .collect(),
            metadata: Vec::new(),
            seekable: true,
        }
    }

    /// What is copied of these tracks, and what is chosen if something may be encoded.
    fn taken(tracks: &[(Codec, &[i32])]) -> [(Option<usize>, Option<usize>); 2] {
        let media = media(tracks);
        let index = |track: Option<TrackInfo>| track.map(|track| track.index);
        let Selection { video, audio, .. } = Selection::of(&media, Carriage::Plain);
        let chosen = Chosen::of(&media, Carriage::Plain);
        [(index(video), index(audio)), (index(chosen.video), index(chosen.audio))]
    }

    #[test]
    fn picture_and_sound_come_from_one_programme() {
        use Codec::{Aac, Ac3, H264, Hevc};
        let both = |video, audio| [(video, audio); 2];
        // A radio before a television.
        assert_eq!(taken(&[(Aac, &[1]), (H264, &[2]), (Aac, &[2])]), both(Some(1), Some(2)));
        // Its own sound cannot be copied: it is left out, or encoded.
        let two = [(H264, &[1][..]), (Ac3, &[1]), (H264, &[2]), (Aac, &[2])];
        assert_eq!(taken(&two), [(Some(0), None), (Some(0), Some(1))]);
        // The picture cannot be copied, and the sound is that of the picture that is encoded.
        let encoded = [(Aac, &[1][..]), (Hevc, &[2]), (Ac3, &[2])];
        assert_eq!(taken(&encoded), [(None, Some(0)), (Some(1), Some(2))]);
        // Radios only, and a file without programmes.
        assert_eq!(taken(&[(Ac3, &[1]), (Aac, &[2])]), both(None, Some(1)));
        assert_eq!(taken(&[(Aac, &[]), (H264, &[])]), both(Some(1), Some(0)));
        // A track in two programmes, and one in none, which comes second.
        assert_eq!(taken(&[(Aac, &[]), (Aac, &[3, 4]), (H264, &[4])]), both(Some(2), Some(1)));
        assert_eq!(taken(&[(Aac, &[3]), (Aac, &[]), (H264, &[4])]), both(Some(2), Some(1)));
        // Television without sound.
        assert_eq!(taken(&[(Aac, &[1]), (H264, &[2])]), both(Some(1), None));
    }

    #[test]
    fn other_sound_of_the_programme_goes_along_where_it_is_asked_for() {
        use Codec::{Aac, Ac3, H264, Mp3};
        let tracks = [
            (H264, &[1][..]),
            (Aac, &[1]),
            (Ac3, &[1]),
            (Aac, &[1]),
            (Mp3, &[1]),
            (Aac, &[2]),
            (Aac, &[1]),
            (H264, &[1]),
        ];
        let mixed = media(&tracks);
        let plain = Selection::of(&mixed, Carriage::Plain);
        assert_eq!((plain.indices(), plain.skipped.len()), (vec![0, 1], 6));
        let all = plain.with_others(&mixed);
        assert_eq!(all.indices(), [0, 1, 3, 6]);
        let left: Vec<_> = all.skipped.iter().map(|(index, _)| *index).collect();
        assert_eq!(left, [2, 4, 5, 7]);
        // Beside no picture, and more than there is room for.
        let radio = media(&[(Aac, &[]), (Aac, &[])]);
        assert_eq!(Selection::of(&radio, Carriage::Plain).with_others(&radio).indices(), [0]);
        let many: Vec<_> = std::iter::once((H264, &[][..])).chain((0..12).map(|_| (Aac, &[][..]))).collect();
        let many = media(&many);
        let all = Selection::of(&many, Carriage::Plain).with_others(&many);
        assert_eq!((all.others.len(), all.skipped.len()), (MOST_OTHERS, 4));
    }
}
