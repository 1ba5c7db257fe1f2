//! The metadata of a stream: the script tag `onMetaData`, FLV annex E.5.

use bytes::{BufMut, Bytes, BytesMut};

use super::{FlvError, Tag, TagBody, TagFlags, TagKind};
use crate::amf0::{self, Decoder, Value};
use crate::limits::Limits;
use crate::time::MediaTime;

/// The AMF0 string `onMetaData`.
pub(super) const ON_META_DATA: &[u8] = b"\x02\0\x0AonMetaData";
/// The AMF0 string `@setDataFrame`, which a publisher puts before metadata that a server shall keep.
pub(super) const SET_DATA_FRAME: &[u8] = b"\x02\0\x0D@setDataFrame";
/// The AMF0 string `@clearDataFrame`.
const CLEAR_DATA_FRAME: &[u8] = b"\x02\0\x0F@clearDataFrame";

/// What `onMetaData` states about a stream. Everything is optional, and nothing in it can be trusted: sequence headers say
/// how to decode.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata {
    /// Width in pixels.
    pub width: Option<f64>,
    /// Height in pixels.
    pub height: Option<f64>,
    /// Frames per second.
    pub framerate: Option<f64>,
    /// [`VideoCodec::wire`](super::video::VideoCodec::wire); for Enhanced RTMP the FourCC as a number.
    pub videocodecid: Option<f64>,
    /// Video bit rate in kbit/s (libavformat: in units of 1024 bit/s).
    pub videodatarate_kbps: Option<f64>,
    /// [`AudioCodec::wire`](super::audio::AudioCodec::wire); for Enhanced RTMP the FourCC as a number.
    pub audiocodecid: Option<f64>,
    /// Audio bit rate in kbit/s (libavformat: in units of 1024 bit/s).
    pub audiodatarate_kbps: Option<f64>,
    /// Sample rate in hertz.
    pub audiosamplerate: Option<f64>,
    /// Bits of a sample.
    pub audiosamplesize: Option<f64>,
    /// Whether there are two channels.
    pub stereo: Option<bool>,
    /// Length in seconds; 0 or absent in live streams.
    pub duration_s: Option<f64>,
    /// Size of the file in bytes; 0 or absent in live streams.
    pub filesize: Option<f64>,
    /// The program that made the stream.
    pub encoder: Option<String>,
    /// Every other property, and those above where they have another type (some encoders send `videocodecid` as text).
    pub other: Vec<(String, Value)>,
}

impl Metadata {
    /// Reads the body of a script tag or of an RTMP data message: `onMetaData` and an ECMA array or object, with or
    /// without `@setDataFrame` before them. At most 1024 values, as from a peer.
    ///
    /// # Errors
    ///
    /// [`FlvError::NotMetadata`] if it is another script tag, [`FlvError::Script`] if it is not AMF0.
    pub fn parse(body: &[u8]) -> Result<Self, FlvError> {
        Self::parse_within(body, &Limits::publisher())
    }

    /// As [`parse`](Self::parse), with other limits: a file with a keyframe index needs [`Limits::file`].
    ///
    /// # Errors
    ///
    /// As for [`parse`](Self::parse).
    pub fn parse_within(body: &[u8], limits: &Limits) -> Result<Self, FlvError> {
        let body = body.strip_prefix(SET_DATA_FRAME).unwrap_or(body);
        let mut decoder = Decoder::new(body, limits);
        match decoder.pull()? {
            Some(name) if name.as_str() == Some("onMetaData") => {}
            _ => return Err(FlvError::NotMetadata),
        }
        let Some(Value::EcmaArray(properties) | Value::Object(properties)) = decoder.pull()? else {
            return Err(FlvError::NotMetadata);
        };
        let mut metadata = Self::default();
        for (key, value) in properties {
            metadata.take(key, value);
        }
        Ok(metadata)
    }

    fn take(&mut self, key: String, value: Value) {
        match (key.as_str(), value) {
            ("stereo", Value::Boolean(stereo)) => self.stereo = Some(stereo),
            ("encoder", Value::String(encoder)) => self.encoder = Some(encoder),
            (name, Value::Number(number)) => match self.number(name) {
                Some(field) => *field = Some(number),
                None => self.other.push((key, Value::Number(number))),
            },
            (_, value) => self.other.push((key, value)),
        }
    }

    fn number(&mut self, name: &str) -> Option<&mut Option<f64>> {
        Some(match name {
            "width" => &mut self.width,
            "height" => &mut self.height,
            "framerate" => &mut self.framerate,
            "videocodecid" => &mut self.videocodecid,
            "videodatarate" => &mut self.videodatarate_kbps,
            "audiocodecid" => &mut self.audiocodecid,
            "audiodatarate" => &mut self.audiodatarate_kbps,
            "audiosamplerate" => &mut self.audiosamplerate,
            "audiosamplesize" => &mut self.audiosamplesize,
            "duration" => &mut self.duration_s,
            "filesize" => &mut self.filesize,
            _ => return None,
        })
    }

    /// The properties in the order that libavformat writes them.
    fn properties(&self) -> Vec<(String, Value)> {
        let number = |name: &str, value: Option<f64>| value.map(|v| (name.to_owned(), Value::Number(v)));
        [
            number("duration", self.duration_s),
            number("width", self.width),
            number("height", self.height),
            number("videodatarate", self.videodatarate_kbps),
            number("framerate", self.framerate),
            number("videocodecid", self.videocodecid),
            number("audiodatarate", self.audiodatarate_kbps),
            number("audiosamplerate", self.audiosamplerate),
            number("audiosamplesize", self.audiosamplesize),
            self.stereo.map(|stereo| ("stereo".to_owned(), Value::Boolean(stereo))),
            number("audiocodecid", self.audiocodecid),
            self.encoder.as_deref().map(|encoder| ("encoder".to_owned(), Value::from(encoder))),
        ]
        .into_iter()
        .flatten()
        .chain(self.other.iter().cloned())
        .chain(number("filesize", self.filesize))
        .collect()
    }

    fn body(&self, prefix: &[u8]) -> Bytes {
        let mut body = BytesMut::new();
        body.put_slice(prefix);
        body.put_slice(ON_META_DATA);
        amf0::encode(&Value::EcmaArray(self.properties()), &mut body);
        body.freeze()
    }

    /// The script tag: `onMetaData` and an ECMA array.
    #[must_use]
    pub fn to_tag(&self, timestamp: MediaTime) -> Tag {
        let body = TagBody::new(self.body(&[]));
        Tag { kind: TagKind::Script, timestamp, flags: TagFlags::METADATA, body }
    }

    /// The body of the RTMP data message in which a publisher sends it: with `@setDataFrame` before it.
    #[must_use]
    pub fn to_set_data_frame(&self) -> Bytes {
        self.body(SET_DATA_FRAME)
    }
}

/// A script body without a leading `@setDataFrame`, as players and files want it. Nothing is copied.
#[must_use]
pub fn strip_set_data_frame(mut body: Bytes) -> Bytes {
    if body.starts_with(SET_DATA_FRAME) { body.split_off(SET_DATA_FRAME.len()) } else { body }
}

/// A publisher's data message as players want it: without a leading `@setDataFrame`, and empty if it is
/// `@clearDataFrame`, which takes back what a server keeps and is no data.
pub(crate) fn for_players(body: Bytes) -> Bytes {
    if body.starts_with(CLEAR_DATA_FRAME) { Bytes::new() } else { strip_set_data_frame(body) }
}

/// A script body with `@setDataFrame` before it, as servers want it from a publisher. One that has it stays as it is.
#[must_use]
pub fn add_set_data_frame(body: &Bytes) -> Bytes {
    if body.starts_with(SET_DATA_FRAME) {
        return body.clone();
    }
    TagBody::with_head(SET_DATA_FRAME, body.clone()).to_bytes()
}
