//! The sound of one lap: brought to the encoder's rate, channels and frame size, leveled and mixed with others if it is to be, encoded.
//!
//! In: samples, wherever they come from, with times in ticks of one clock. Out: packets of AAC or Opus, to the sample on the same clock; the
//! first says how much of it is priming. Runs on the thread that reads.

use std::collections::VecDeque;
use std::sync::Arc;

use flowcast_av::encoder::{AudioCodecKind, AudioEncoder, AudioSettings};
use flowcast_av::{AudioFormat, AudioFrame, Error as Media, Packet, Resampler, TimeBase, TrackInfo};

use super::decode::{Decoded, FrameStage};
use super::encoding::AudioCodec;
use super::leveling::Leveling;
use super::pipeline::Control;
use super::plan::AudioPlan;
use crate::content::Hearing;
use crate::error::Error;
use crate::event::EventKind;
use crate::mix::Mixing;

/// The sound of a track, on its way to packets.
#[derive(Debug)]
pub(super) struct Sounds {
    plan: AudioPlan,
    output: TrackInfo,
    resampler: Option<Resampler>,
    /// Where the source's format changes, joins what the resamplers for either make to whole frames.
    joint: Option<Resampler>,
    /// Samples that no resampler has taken yet.
    waiting: Option<AudioFrame>,
    /// The resampler gives what it holds and goes.
    leaving: bool,
    encoder: AudioEncoder,
    /// What it is mixed with.
    mixing: Option<Mixing>,
    /// What brings it to its loudness.
    leveling: Option<Leveling>,
    /// What listens whether there is anything to hear.
    hearing: Option<Hearing>,
    /// Of what is mixed: the format that came last, and where it ends, in milliseconds.
    input: Option<AudioFormat>,
    ends: Option<i64>,
    /// Samples of priming that no packet has told yet.
    priming: u32,
    stage: Stage,
}

/// How far a lap is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Taking,
    /// No samples follow; the resampler gives what it holds, then the joint, then the encoder.
    Ending,
    Resampler,
    Joint,
    Encoder,
    Over,
}

impl Sounds {
    /// Opens the encoder for the sound of `input`, whose codec and format do not matter: samples say themselves what they are.
    ///
    /// # Errors
    ///
    /// No encoder opens.
    pub(super) fn open(
        input: &TrackInfo,
        plan: &AudioPlan,
        control: &Control,
        leveling: Option<Leveling>,
    ) -> Result<Self, Error> {
        let encoder = open_encoder(input.index, plan)?;
        let mixing = control.mixing.clone();
        if let Some(mixing) = &mixing {
            mixing.desk().begin();
        }
        let mut output = encoder.track().clone();
        output.default = true;
        output.programs.clone_from(&input.programs);
        output.language.clone_from(&input.language);
        Ok(Self {
            plan: plan.clone(),
            priming: priming(&output),
            output,
            resampler: None,
            joint: None,
            waiting: None,
            leaving: false,
            encoder,
            mixing,
            leveling,
            hearing: control.probe.clone().map(|probe| Hearing::new(probe, plan.sample_rate)),
            input: None,
            ends: None,
            stage: Stage::Taking,
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

    /// Begins again with an encoder that remembers nothing.
    pub(super) fn rewind(&mut self) -> Result<(), Error> {
        self.encoder = open_encoder(self.output.index, &self.plan)?;
        if let Some(mixing) = &self.mixing {
            mixing.desk().begin();
        }
        (self.resampler, self.joint, self.waiting, self.leaving) = (None, None, None, false);
        self.priming = priming(&self.output);
        self.stage = Stage::Taking;
        if let Some(leveling) = &mut self.leveling {
            leveling.begin();
        }
        Ok(())
    }

    /// Where the sound that was taken ends, in milliseconds of its clock; only of what is mixed, once there was any.
    pub(super) fn ends(&self) -> Option<i64> {
        self.ends
    }

    /// Takes silence in place of sound that does not come, between two times in milliseconds. All that could be worked must have been.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub(super) fn take_silence(&mut self, from: i64, to: i64) -> Result<(), Error> {
        let format = self.input.clone().unwrap_or_else(|| self.encoder.format().clone());
        let base = TimeBase::new(1, format.sample_rate);
        let [from, to] = [from, to].map(|millis| TimeBase::MILLIS.rescale(millis, base));
        let Some(samples) = usize::try_from(to - from).ok().filter(|samples| *samples > 0) else {
            return Ok(());
        };
        let mut frame = AudioFrame::silence(&format, samples)?;
        frame.set_pts(Some(from));
        self.take(Decoded::Frame(frame));
        Ok(())
    }

    /// Notes where what is taken ends.
    fn note(&mut self, frame: &AudioFrame) {
        if self.mixing.is_none() {
            return;
        }
        let base = TimeBase::new(1, frame.format().sample_rate);
        let samples = i64::try_from(frame.samples()).unwrap_or(0);
        let begins = frame.pts().or_else(|| Some(TimeBase::MILLIS.rescale(self.ends?, base)));
        let ends = base.millis(begins.unwrap_or(0).saturating_add(samples));
        self.ends = Some(self.ends.map_or(ends, |before| before.max(ends)));
        if self.input.as_ref() != Some(frame.format()) {
            self.input = Some(frame.format().clone());
        }
    }

    /// Encodes a frame of the encoder's size, leveled, and mixed with what else there is.
    fn encode(
        &mut self,
        frame: &AudioFrame,
        packets: &mut VecDeque<Packet>,
        notices: &mut Vec<EventKind>,
    ) -> Result<(), Error> {
        if self.mixing.is_none() && self.leveling.is_none() {
            if let Some(hearing) = &mut self.hearing {
                hearing.hear(&frame.to_channels()?);
            }
            self.encoder.push_frame(frame).map_err(|error| failed(&self.plan, error))?;
            return self.give(packets);
        }
        let (rows, pts) = (frame.to_channels()?, frame.pts().unwrap_or(0));
        let Some(leveling) = &mut self.leveling else { return self.encode_rows(rows, pts, packets) };
        leveling.look(notices);
        let leveler = leveling.leveler();
        if leveler.breaks_at(pts) {
            leveler.complete(self.encoder.frame_samples());
            self.encode_leveled(packets)?;
        }
        if let Some(leveling) = &mut self.leveling {
            leveling.leveler().take(rows, pts);
        }
        self.encode_leveled(packets)
    }

    /// Encodes what has come out of the leveler.
    fn encode_leveled(&mut self, packets: &mut VecDeque<Packet>) -> Result<(), Error> {
        let size = self.encoder.frame_samples();
        while let Some((rows, pts)) =
            self.leveling.as_mut().and_then(|leveling| leveling.leveler().next(size))
        {
            self.encode_rows(rows, pts, packets)?;
        }
        Ok(())
    }

    /// Encodes samples, one row for each channel, mixed with what else there is.
    fn encode_rows(
        &mut self,
        mut rows: Vec<Vec<f32>>,
        mut pts: i64,
        packets: &mut VecDeque<Packet>,
    ) -> Result<(), Error> {
        if let Some(mixing) = &self.mixing {
            let mut desk = mixing.desk();
            desk.process(&mut rows);
            // What comes out is what went in that much before.
            pts = pts.saturating_sub(i64::try_from(desk.delay()).unwrap_or(0));
        }
        if let Some(hearing) = &mut self.hearing {
            hearing.hear(&rows);
        }
        let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
        self.encoder.push(&rows, pts).map_err(|error| failed(&self.plan, error))?;
        self.give(packets)
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
            self.stage = match self.stage {
                Stage::Taking | Stage::Encoder | Stage::Over => return Ok(None),
                Stage::Ending => {
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

impl FrameStage for Sounds {
    type Frame = AudioFrame;

    fn take(&mut self, decoded: Decoded<AudioFrame>) {
        match decoded {
            Decoded::Frame(frame) => {
                self.note(&frame);
                self.waiting = Some(frame);
            }
            Decoded::End { .. } => self.stage = Stage::Ending,
        }
    }

    fn work(&mut self, packets: &mut VecDeque<Packet>, notices: &mut Vec<EventKind>) -> Result<bool, Error> {
        if let Some(frame) = self.next_frame()? {
            self.encode(&frame, packets, notices)?;
            return Ok(true);
        }
        if self.stage != Stage::Encoder {
            return Ok(false);
        }
        self.stage = Stage::Over;
        if let Some(leveling) = &mut self.leveling {
            leveling.leveler().end();
            self.encode_leveled(packets)?;
        }
        self.encoder.finish().map_err(|error| failed(&self.plan, error))?;
        self.give(packets)?;
        Ok(true)
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
    Error::EncoderFailed { encoder: plan.codec.as_str().to_owned(), source: Arc::new(Error::Media(error)) }
}
