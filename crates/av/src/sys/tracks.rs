//! Copies what libav knows about an input into plain data.

use std::ffi::c_int;
use std::time::Duration;

use bytes::Bytes;

use super::ffi::{self, by_int, enum_field};
use super::{dict, layout};
use crate::{
    AudioInfo, Codec, ColorInfo, FieldOrder, MediaInfo, Ratio, TimeBase, TrackInfo, TrackKind, VideoInfo,
};

/// Everything about an input.
///
/// # Safety
/// `context` is an open input that is not changed during the call.
pub(super) unsafe fn media(context: *const ffi::AVFormatContext, seekable: bool) -> MediaInfo {
    // SAFETY: the caller promises a live, unchanging context; an open input has a format, and `nb_streams` pointers to streams
    // with parameters.
    unsafe {
        let streams = (*context).streams;
        let count = usize::try_from((*context).nb_streams).unwrap_or(0);
        let duration = known((*context).duration).filter(|micros| *micros > 0);
        let mut tracks: Vec<TrackInfo> = (0..count).map(|index| track(index, *streams.add(index))).collect();
        note_programs(context, &mut tracks);
        MediaInfo {
            format: ffi::text((*(*context).iformat).name).unwrap_or_default(),
            duration: duration.and_then(|micros| u64::try_from(micros).ok()).map(Duration::from_micros),
            start_micros: known((*context).start_time),
            bit_rate: positive((*context).bit_rate),
            tracks,
            metadata: dict::pairs((*context).metadata),
            seekable,
        }
    }
}

/// Says of each track to which programmes it belongs.
///
/// # Safety
/// As for [`media`].
unsafe fn note_programs(context: *const ffi::AVFormatContext, tracks: &mut [TrackInfo]) {
    // SAFETY: the caller promises a live, unchanging context; it holds `nb_programs` pointers to programmes, each with
    // `nb_stream_indexes` numbers of streams (null if there are none).
    unsafe {
        let programs = usize::try_from((*context).nb_programs).unwrap_or(0);
        for number in 0..programs {
            let program = *(*context).programs.add(number);
            let count = usize::try_from((*program).nb_stream_indexes).unwrap_or(0);
            if (*program).stream_index.is_null() {
                continue;
            }
            for place in 0..count {
                let index = usize::try_from(*(*program).stream_index.add(place)).ok();
                if let Some(track) = index.and_then(|index| tracks.get_mut(index))
                    && !track.programs.contains(&(*program).id)
                {
                    track.programs.push((*program).id);
                }
            }
        }
    }
}

/// # Safety
/// `stream` is a stream of an open input that is not changed during the call.
unsafe fn track(index: usize, stream: *const ffi::AVStream) -> TrackInfo {
    // SAFETY: the caller promises a live stream; every stream has parameters, whose extradata is `extradata_size` bytes.
    unsafe {
        let parameters = (*stream).codecpar;
        let id = enum_field!(parameters, codec_id);
        let kind = match enum_field!(parameters, codec_type) {
            0 => TrackKind::Video,
            1 => TrackKind::Audio,
            2 => TrackKind::Data,
            3 => TrackKind::Subtitle,
            4 => TrackKind::Attachment,
            _ => TrackKind::Unknown,
        };
        let codec = Codec::from_name(&ffi::text(by_int::avcodec_get_name(id)).unwrap_or_default());
        let profile = (*parameters).profile;
        let extradata = usize::try_from((*parameters).extradata_size).unwrap_or(0);
        let config = (extradata > 0 && !(*parameters).extradata.is_null())
            .then(|| Bytes::copy_from_slice(std::slice::from_raw_parts((*parameters).extradata, extradata)));
        let language = dict::pairs((*stream).metadata)
            .into_iter()
            .find(|(key, value)| key.eq_ignore_ascii_case("language") && value != "und")
            .map(|(_, value)| value);
        TrackInfo {
            profile: ffi::text(by_int::avcodec_profile_name(id, profile)),
            level: u32::try_from((*parameters).level).ok().filter(|level| *level > 0),
            start: known((*stream).start_time),
            duration: known((*stream).duration).filter(|ticks| *ticks > 0),
            bit_rate: positive((*parameters).bit_rate),
            frames: positive((*stream).nb_frames),
            config,
            codec_tag: (*parameters).codec_tag,
            coded_bits: u32::try_from((*parameters).bits_per_coded_sample).unwrap_or(0),
            block_bytes: u32::try_from((*parameters).block_align).unwrap_or(0),
            video: (kind == TrackKind::Video).then(|| video(stream)),
            audio: (kind == TrackKind::Audio).then(|| audio(parameters)),
            language,
            default: (*stream).disposition & ffi::AV_DISPOSITION_DEFAULT != 0,
            attached_picture: (*stream).disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0,
            ..TrackInfo::new(index, kind, codec, time_base((*stream).time_base))
        }
    }
}

/// # Safety
/// As for [`track`].
unsafe fn video(stream: *const ffi::AVStream) -> VideoInfo {
    // SAFETY: the caller promises a live stream with parameters; the name functions return null or static strings.
    unsafe {
        let parameters = (*stream).codecpar;
        let (rotation_degrees, mirrored) = display_matrix(stream).map_or((0, false), orientation);
        let aspect =
            ratio((*stream).sample_aspect_ratio).or_else(|| ratio((*parameters).sample_aspect_ratio));
        VideoInfo {
            width: u32::try_from((*parameters).width).unwrap_or(0),
            height: u32::try_from((*parameters).height).unwrap_or(0),
            frame_rate: ratio((*stream).avg_frame_rate),
            real_frame_rate: ratio((*stream).r_frame_rate),
            pixel_format: ffi::text(by_int::av_get_pix_fmt_name((*parameters).format)).unwrap_or_default(),
            field_order: match enum_field!(parameters, field_order) {
                1 => FieldOrder::Progressive,
                // Coded order, then display order: TT, BB, TB, BT.
                2 | 5 => FieldOrder::TopFirst,
                3 | 4 => FieldOrder::BottomFirst,
                0 => FieldOrder::Unknown,
                _ => FieldOrder::Interlaced,
            },
            sample_aspect: aspect,
            rotation_degrees,
            mirrored,
            b_frames: u32::try_from((*parameters).video_delay).unwrap_or(0),
            color: ColorInfo {
                range: color(by_int::av_color_range_name(enum_field!(parameters, color_range))),
                space: color(by_int::av_color_space_name(enum_field!(parameters, color_space))),
                primaries: color(by_int::av_color_primaries_name(enum_field!(parameters, color_primaries))),
                transfer: color(by_int::av_color_transfer_name(enum_field!(parameters, color_trc))),
            },
        }
    }
}

/// # Safety
/// `name` is null or a static string.
unsafe fn color(name: *const std::ffi::c_char) -> Option<String> {
    // SAFETY: as the caller promises.
    unsafe { ffi::text(name) }.filter(|name| name != "unknown")
}

/// # Safety
/// `parameters` are those of a live stream.
unsafe fn audio(parameters: *const ffi::AVCodecParameters) -> AudioInfo {
    // SAFETY: the caller promises live parameters; its layout is valid.
    unsafe {
        let layout = &raw const (*parameters).ch_layout;
        AudioInfo {
            sample_rate: u32::try_from((*parameters).sample_rate).unwrap_or(0),
            channels: u32::try_from((*layout).nb_channels).unwrap_or(0),
            layout: layout::describe(layout),
            frame_samples: u32::try_from((*parameters).frame_size).unwrap_or(0),
            priming_samples: u32::try_from((*parameters).initial_padding).unwrap_or(0),
        }
    }
}

/// The display matrix of a stream: 9 numbers in fixed point.
///
/// # Safety
/// As for [`track`].
unsafe fn display_matrix(stream: *const ffi::AVStream) -> Option<[i32; 9]> {
    let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX as c_int;
    // SAFETY: the caller promises a live stream; side data stays with it and is copied here. Its bytes may be unaligned.
    let data = unsafe {
        #[cfg(ffmpeg_6_1)]
        let (data, size) = {
            let parameters = (*stream).codecpar;
            let entry = by_int::av_packet_side_data_get(
                (*parameters).coded_side_data,
                (*parameters).nb_coded_side_data,
                kind,
            );
            if entry.is_null() { (std::ptr::null(), 0) } else { ((*entry).data.cast_const(), (*entry).size) }
        };
        #[cfg(not(ffmpeg_6_1))]
        let (data, size) = {
            let mut size = 0;
            let data = by_int::av_stream_get_side_data(stream, kind, &raw mut size);
            (data.cast_const(), size)
        };
        if data.is_null() || size < 36 {
            return None;
        }
        std::slice::from_raw_parts(data, 36).to_vec()
    };
    let mut matrix = [0; 9];
    for (value, bytes) in matrix.iter_mut().zip(data.chunks_exact(4)) {
        *value = i32::from_ne_bytes(bytes.try_into().ok()?);
    }
    Some(matrix)
}

/// Rotation in degrees clockwise, to the next quarter, and whether the picture is mirrored first.
fn orientation(matrix: [i32; 9]) -> (u16, bool) {
    let [a, b, _, c, d, ..] = matrix.map(f64::from);
    let mirrored = a * d - b * c < 0.0;
    // Undo the mirroring (about the vertical axis) before the angle is read.
    let (a, c) = if mirrored { (-a, -c) } else { (a, c) };
    let _ = c;
    let degrees = b.atan2(a).to_degrees();
    let quarters = (degrees / 90.0).round().rem_euclid(4.0);
    (
        if quarters < 0.5 {
            0
        } else if quarters < 1.5 {
            90
        } else if quarters < 2.5 {
            180
        } else {
            270
        },
        mirrored,
    )
}

fn known(value: i64) -> Option<i64> {
    (value != ffi::AV_NOPTS_VALUE).then_some(value)
}

fn positive(value: i64) -> Option<u64> {
    u64::try_from(value).ok().filter(|value| *value > 0)
}

fn ratio(value: ffi::AVRational) -> Option<Ratio> {
    Ratio::new(u32::try_from(value.num).ok()?, u32::try_from(value.den).ok()?)
}

fn time_base(value: ffi::AVRational) -> TimeBase {
    TimeBase::new(u32::try_from(value.num).unwrap_or(1), u32::try_from(value.den).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: i32 = 1 << 16;

    #[test]
    fn quarter_turns() {
        let matrix = |a, b, c, d| [a, b, 0, c, d, 0, 0, 0, 1 << 30];
        assert_eq!(orientation(matrix(ONE, 0, 0, ONE)), (0, false));
        assert_eq!(orientation(matrix(0, ONE, -ONE, 0)), (90, false));
        assert_eq!(orientation(matrix(-ONE, 0, 0, -ONE)), (180, false));
        assert_eq!(orientation(matrix(0, -ONE, ONE, 0)), (270, false));
        assert_eq!(orientation(matrix(-ONE, 0, 0, ONE)), (0, true));
    }
}
