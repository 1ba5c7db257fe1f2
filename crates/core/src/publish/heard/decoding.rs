//! The sound of tags, decoded for a mix.
//!
//! In: tags of one publication after the other. Out: samples at the rate and with the channels of the mix. On the thread that listens.

use bytes::Bytes;
use flowcast_av::{
    AudioDecoder, Codec as MediaCodec, DecoderOptions, Error as Media, Packet, TimeBase, TrackInfo, TrackKind,
};
use flowcast_rtmp::flv::coded::{Part, coded};
use flowcast_rtmp::flv::tag::{Codec, Tag};

use crate::error::Error;
use crate::mix::{Line, MixFormat, Sound};

/// Samples that are given at once: what has come is not held back for longer.
const PIECE: usize = 256;

/// What decodes the sound of one thing that is heard.
#[derive(Debug)]
pub(super) struct Decoding {
    format: MixFormat,
    sound: Sound,
    decoder: Option<AudioDecoder>,
    codec: Option<Codec>,
    config: Option<Bytes>,
    /// There is no decoder for it.
    is_deaf: bool,
}

impl Decoding {
    pub(super) fn new(format: MixFormat) -> Self {
        let sound = Sound::new(format, PIECE);
        Self { format, sound, decoder: None, codec: None, config: None, is_deaf: false }
    }

    /// What comes next does not follow. What is known of its codec may still hold.
    pub(super) fn rest(&mut self) {
        (self.decoder, self.is_deaf) = (None, false);
        self.sound = Sound::new(self.format, PIECE);
    }

    /// Gives the sound of a tag to the mix; other tags are left out, and so is what is damaged.
    ///
    /// # Errors
    ///
    /// There is no decoder for it; said once.
    pub(super) fn take(&mut self, tag: &Tag, line: &mut Line) -> Result<(), Error> {
        if !tag.is_audio() || tag.track() != 0 || self.is_deaf {
            return Ok(());
        }
        let Some(coded) = coded(tag) else { return Ok(()) };
        if self.codec != Some(coded.codec) {
            (self.codec, self.config) = (Some(coded.codec), None);
            self.rest();
        }
        match coded.part {
            Part::Config(config) => {
                if self.config.as_ref() != Some(&config) {
                    self.config = Some(config);
                    self.rest();
                }
                Ok(())
            }
            Part::Frames { data, .. } => {
                let heard = self.hear(coded.codec, tag.timestamp.as_millis(), data, line);
                heard.or_else(|error| match error {
                    Error::Media(media) if media.is_damage() => {
                        log::debug!("{}: {media}", line.name());
                        Ok(())
                    }
                    error => {
                        self.is_deaf = true;
                        Err(error)
                    }
                })
            }
        }
    }

    fn hear(&mut self, codec: Codec, millis: i64, data: Bytes, line: &mut Line) -> Result<(), Error> {
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(open(codec, self.config.clone())?),
        };
        let mut packet = Packet::new(0, Some(millis), Some(millis), data);
        packet.keyframe = true;
        decoder.push(&packet)?;
        loop {
            match decoder.pull() {
                Ok(Some(frame)) => self.sound.take(&frame)?.iter().for_each(|rows| line.give(rows)),
                Ok(None) => return Ok(()),
                Err(error) if error.is_damage() => log::debug!("{}: {error}", line.name()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn open(codec: Codec, config: Option<Bytes>) -> Result<AudioDecoder, Error> {
    let Codec::Audio(codec) = codec else {
        return Err(Error::Media(Media::NoPlayableTrack { input: "what is heard".to_owned() }));
    };
    let codec = MediaCodec::from_name(codec.name());
    let mut track = TrackInfo::new(0, TrackKind::Audio, codec, TimeBase::MILLIS);
    track.config = config.filter(|config| !config.is_empty());
    Ok(AudioDecoder::open(&track, &DecoderOptions::default())?)
}
