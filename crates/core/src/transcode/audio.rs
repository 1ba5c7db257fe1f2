//! The sound of one lap: decoded, brought to the encoder's rate, channels and frame size, encoded.
//!
//! In: packets of an audio track. Out: packets of AAC or Opus, to the sample on the same clock; the first says how much of it is priming.
//! Runs on the thread that reads.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_av::encoder::{AudioCodecKind, AudioEncoder, AudioSettings};
use flowcast_av::{AudioDecoder, AudioFrame, DecoderOptions, Error as Media, Packet, Resampler, TrackInfo};

use super::encoding::AudioCodec;
use super::plan::AudioPlan;
use crate::error::Error;

/// An audio track that is encoded.
#[derive(Debug)]
pub(super) struct AudioTrack {
    plan: AudioPlan,
    input: TrackInfo,
    output: TrackInfo,
    decoder: AudioDecoder,
    resampler: Option<Resampler>,
    /// Where the source's format changes, joins what the resamplers for either make to whole frames.
    joint: Option<Resampler>,
    /// Samples that no resampler has taken yet.
    waiting: Option<AudioFrame>,
    /// The resampler gives what it holds and goes.
    leaving: bool,
    encoder: AudioEncoder,
    /// Samples of priming that no packet has told yet.
    priming: u32,
    stage: Stage,
}

/// How far a lap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Reading,
    /// The decoder gives what it holds, then the resampler, then the joint, then the encoder.
    Decoder,
    Resampler,
    Joint,
    Encoder,
    Over,
}

impl AudioTrack {
    /// Opens decoder and encoder for a track.
    ///
    /// # Errors
    ///
    /// There is no decoder for it, or no encoder opens.
    pub(super) fn open(input: &TrackInfo, plan: &AudioPlan) -> Result<Self, Error> {
        let decoder = AudioDecoder::open(input, &DecoderOptions::default())?;
        let encoder = open_encoder(input.index, plan)?;
        let mut output = encoder.track().clone();
        output.default = true;
        output.programs.clone_from(&input.programs);
        output.language.clone_from(&input.language);
        Ok(Self {
            plan: plan.clone(),
            input: input.clone(),
            priming: priming(&output),
            output,
            decoder,
            resampler: None,
            joint: None,
            waiting: None,
            leaving: false,
            encoder,
            stage: Stage::Reading,
        })
    }

    /// What comes out.
    pub(super) fn output(&self) -> &TrackInfo {
        &self.output
    }

    /// libav's name of the encoder.
    pub(super) fn encoder(&self) -> &'static str {
        match self.plan.codec {
            AudioCodec::Aac => "aac",
            AudioCodec::Opus => "libopus",
        }
    }

    /// Begins again with a decoder and an encoder that remember nothing.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        self.decoder = AudioDecoder::open(&self.input, &DecoderOptions::default())?;
        self.encoder = open_encoder(self.input.index, &self.plan)?;
        (self.resampler, self.joint, self.waiting, self.leaving) = (None, None, None, false);
        self.priming = priming(&self.output);
        self.stage = Stage::Reading;
        Ok(())
    }

    /// Takes a packet, once there is no [`work`](Self::work) left.
    ///
    /// # Errors
    ///
    /// [`Media`] of damage: it goes on with the next one.
    pub(super) fn push(&mut self, packet: &Packet) -> Result<(), Media> {
        self.decoder.push(packet)
    }

    /// No packet follows in this lap; what is left is still to be worked through.
    ///
    /// # Errors
    ///
    /// As for [`push`](Self::push).
    pub(super) fn finish(&mut self) -> Result<(), Media> {
        self.stage = Stage::Decoder;
        self.decoder.finish()
    }

    /// Brings one frame through; `false` if another packet is needed, or the lap is over.
    ///
    /// # Errors
    ///
    /// [`Error::Media`] of damage, after which it goes on; any other is the end.
    pub(super) fn work(&mut self, packets: &mut VecDeque<Packet>) -> Result<bool, Error> {
        if let Some(frame) = self.next_frame()? {
            self.encoder.push_frame(&frame).map_err(|error| failed(&self.plan, error))?;
            self.give(packets)?;
            return Ok(true);
        }
        if self.stage != Stage::Encoder {
            return Ok(false);
        }
        self.stage = Stage::Over;
        self.encoder.finish().map_err(|error| failed(&self.plan, error))?;
        self.give(packets)?;
        Ok(true)
    }

    /// The next frame of the encoder's size.
    fn next_frame(&mut self) -> Result<Option<AudioFrame>, Error> {
        loop {
            if let Some(joint) = &mut self.joint
                && let Some(frame) = joint.pull()?
            {
                return Ok(Some(frame));
            }
            if let Some(resampler) = &mut self.resampler {
                if let Some(frame) = resampler.pull()? {
                    match &mut self.joint {
                        Some(joint) => {
                            joint.push(&frame)?;
                            continue;
                        }
                        // More follows behind the short frame that a change of format leaves.
                        None if self.waiting.is_some() && frame.samples() < self.encoder.frame_samples() => {
                            let joint = Resampler::new(
                                self.encoder.format(),
                                self.encoder.format(),
                                self.encoder.frame_samples(),
                            )?;
                            self.joint.insert(joint).push(&frame)?;
                            continue;
                        }
                        None => return Ok(Some(frame)),
                    }
                }
                if self.leaving {
                    (self.resampler, self.leaving) = (None, false);
                }
            }
            if let Some(frame) = self.waiting.take() {
                self.resample(frame)?;
                continue;
            }
            if matches!(self.stage, Stage::Reading | Stage::Decoder)
                && let Some(frame) = self.decoder.pull()?
            {
                self.waiting = Some(frame);
                continue;
            }
            self.stage = match self.stage {
                Stage::Reading | Stage::Encoder | Stage::Over => return Ok(None),
                Stage::Decoder => {
                    if let Some(resampler) = &mut self.resampler {
                        self.leaving = true;
                        resampler.finish()?;
                    }
                    Stage::Resampler
                }
                Stage::Resampler => {
                    if let Some(joint) = &mut self.joint {
                        joint.finish()?;
                    }
                    Stage::Joint
                }
                Stage::Joint => Stage::Encoder,
            };
        }
    }

    /// Gives samples to a resampler for their format; if that has changed, once the one before has given all.
    fn resample(&mut self, frame: AudioFrame) -> Result<(), Error> {
        match &mut self.resampler {
            Some(resampler) if resampler.accepts(frame.format()) => resampler.push(&frame)?,
            Some(resampler) => {
                resampler.finish()?;
                self.leaving = true;
                self.waiting = Some(frame);
            }
            none => {
                let size = self.encoder.frame_samples();
                none.insert(Resampler::new(frame.format(), self.encoder.format(), size)?).push(&frame)?;
            }
        }
        Ok(())
    }

    /// Takes what the encoder has.
    fn give(&mut self, packets: &mut VecDeque<Packet>) -> Result<(), Error> {
        while let Some(mut packet) = self.encoder.pull().map_err(|error| failed(&self.plan, error))? {
            let size = u32::try_from(self.encoder.frame_samples()).unwrap_or(1024);
            packet.track = self.output.index;
            packet.keyframe = true;
            packet.skip_start = self.priming.min(size);
            self.priming -= packet.skip_start;
            packets.push_back(packet);
        }
        Ok(())
    }
}

fn open_encoder(track: usize, plan: &AudioPlan) -> Result<AudioEncoder, Error> {
    let mut settings = AudioSettings::new(plan.sample_rate, plan.channels);
    settings.codec = match plan.codec {
        AudioCodec::Aac => AudioCodecKind::Aac,
        AudioCodec::Opus => AudioCodecKind::Opus,
    };
    settings.bit_rate = 1000 * u64::from(plan.kbps);
    settings.fast = plan.fast;
    AudioEncoder::open(track, &settings).map_err(|error| failed(plan, error))
}

fn priming(output: &TrackInfo) -> u32 {
    output.audio.as_ref().map_or(0, |audio| audio.priming_samples)
}

fn failed(plan: &AudioPlan, error: Media) -> Error {
    Error::EncoderFailed { encoder: plan.codec.name().to_owned(), source: Arc::new(Error::Media(error)) }
}
