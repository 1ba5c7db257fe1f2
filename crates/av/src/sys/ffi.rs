//! The bindings, and the functions with C enums among their arguments or results, declared with `int` in their place.
//!
//! `ffmpeg-sys-next` binds C enums as Rust enums; a value that the headers do not list (a library with a newer minor version)
//! would be undefined behaviour. On every platform Rust supports, the C ABI passes such an enum as `int`.

use std::ffi::{c_char, c_int, c_void};

pub(super) use ffmpeg_sys_next::*;

/// The functions of libav that take or return C enums, with `int` in their place. Same names as in libav.
pub(super) mod by_int {
    use super::{
        AVChannelLayout, AVCodec, AVCodecDescriptor, AVPacket, AVPixFmtDescriptor, SwrContext, c_char, c_int,
        c_void,
    };

    unsafe extern "C" {
        pub(crate) fn avcodec_get_name(id: c_int) -> *const c_char;
        pub(crate) fn avcodec_profile_name(id: c_int, profile: c_int) -> *const c_char;
        pub(crate) fn avcodec_find_encoder(id: c_int) -> *const AVCodec;
        pub(crate) fn avcodec_find_decoder(id: c_int) -> *const AVCodec;
        pub(crate) fn avcodec_descriptor_get_by_name(name: *const c_char) -> *const AVCodecDescriptor;
        pub(crate) fn av_get_pix_fmt_name(format: c_int) -> *const c_char;
        pub(crate) fn av_pix_fmt_desc_get(format: c_int) -> *const AVPixFmtDescriptor;
        pub(crate) fn av_get_pix_fmt(name: *const c_char) -> c_int;
        pub(crate) fn av_color_range_name(range: c_int) -> *const c_char;
        pub(crate) fn av_color_space_name(space: c_int) -> *const c_char;
        pub(crate) fn av_color_primaries_name(primaries: c_int) -> *const c_char;
        pub(crate) fn av_color_transfer_name(transfer: c_int) -> *const c_char;
        pub(crate) fn av_get_sample_fmt_name(format: c_int) -> *const c_char;
        pub(crate) fn av_get_sample_fmt(name: *const c_char) -> c_int;
        pub(crate) fn av_get_bytes_per_sample(format: c_int) -> c_int;
        pub(crate) fn av_sample_fmt_is_planar(format: c_int) -> c_int;
        pub(crate) fn av_samples_set_silence(
            data: *const *mut u8,
            offset: c_int,
            samples: c_int,
            channels: c_int,
            format: c_int,
        ) -> c_int;
        pub(crate) fn av_image_fill_linesizes(strides: *mut c_int, format: c_int, width: c_int) -> c_int;
        pub(crate) fn av_image_fill_pointers(
            data: *mut *mut u8,
            format: c_int,
            height: c_int,
            place: *mut u8,
            strides: *const c_int,
        ) -> c_int;
        pub(crate) fn av_image_get_buffer_size(
            format: c_int,
            width: c_int,
            height: c_int,
            align: c_int,
        ) -> c_int;
        pub(crate) fn av_image_copy_to_buffer(
            place: *mut u8,
            size: c_int,
            data: *const *const u8,
            strides: *const c_int,
            format: c_int,
            width: c_int,
            height: c_int,
            align: c_int,
        ) -> c_int;
        pub(crate) fn av_image_get_linesize(format: c_int, width: c_int, plane: c_int) -> c_int;
        pub(crate) fn av_pix_fmt_get_chroma_sub_sample(
            format: c_int,
            across: *mut c_int,
            down: *mut c_int,
        ) -> c_int;
        pub(crate) fn av_image_fill_black(
            data: *const *mut u8,
            strides: *const isize,
            format: c_int,
            range: c_int,
            width: c_int,
            height: c_int,
        ) -> c_int;
        pub(crate) fn swr_alloc_set_opts2(
            context: *mut *mut SwrContext,
            to_layout: *const AVChannelLayout,
            to_format: c_int,
            to_rate: c_int,
            from_layout: *const AVChannelLayout,
            from_format: c_int,
            from_rate: c_int,
            log_offset: c_int,
            log_context: *mut c_void,
        ) -> c_int;
        pub(crate) fn av_packet_get_side_data(
            packet: *const AVPacket,
            kind: c_int,
            size: *mut usize,
        ) -> *mut u8;
    }

    #[cfg(ffmpeg_7_1)]
    unsafe extern "C" {
        pub(crate) fn avcodec_get_supported_config(
            context: *const super::AVCodecContext,
            codec: *const AVCodec,
            what: c_int,
            flags: std::ffi::c_uint,
            list: *mut *const c_void,
            count: *mut c_int,
        ) -> c_int;
    }

    #[cfg(not(ffmpeg_6_1))]
    unsafe extern "C" {
        pub(crate) fn av_stream_get_side_data(
            stream: *const super::AVStream,
            kind: c_int,
            size: *mut usize,
        ) -> *mut u8;
    }

    #[cfg(ffmpeg_6_1)]
    unsafe extern "C" {
        pub(crate) fn av_packet_side_data_get(
            list: *const super::AVPacketSideData,
            count: c_int,
            kind: c_int,
        ) -> *const super::AVPacketSideData;
    }
}

/// Reads a C enum field as `int`, whatever its value.
///
/// Needs an `unsafe` context: `$pointer` must be valid for reads of the field.
macro_rules! enum_field {
    ($pointer:expr, $field:ident) => {
        std::ptr::addr_of!((*$pointer).$field).cast::<std::ffi::c_int>().read()
    };
}

/// Writes a C enum field as `int`.
///
/// Needs an `unsafe` context: `$pointer` must be valid for writes of the field, and libav must know the value.
macro_rules! set_enum_field {
    ($pointer:expr, $field:ident, $value:expr) => {
        std::ptr::addr_of_mut!((*$pointer).$field).cast::<std::ffi::c_int>().write($value)
    };
}

pub(super) use {enum_field, set_enum_field};

/// The text of a C string that libav owns and keeps: a name out of a static table, a tag of a live dictionary.
///
/// # Safety
/// `text` is null, or points to a NUL-terminated string that is not changed during the call.
pub(super) unsafe fn text(text: *const c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: not null, and NUL-terminated as the caller promises; the bytes are copied before this returns.
    Some(unsafe { std::ffi::CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
