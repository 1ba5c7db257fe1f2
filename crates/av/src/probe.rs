//! Opens an input and finds out what is in it, with as little reading as the format allows.
//!
//! MP4 and MOV headers say everything, FLV says it in its first tags: there, libav's own analysis (`avformat_find_stream_info`,
//! which reads and decodes packets) is left out. What the header leaves unsaid about H.264 and AAC is read from their
//! configuration records. Then packets are read ahead, and kept, until every playable track has shown its first one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::convert::{Converted, Converter};
use crate::demuxer::{Context, Demuxed, recognise_source};
use crate::limits::Exceeded;
use crate::screen::{PacketScreen, StreamScreen, Syntax};
use crate::sys::{Guard, Input, Io, Limits, Opening};
use crate::{Codec, Error, MediaInfo, OpenOptions, Packet, Probe, TimeBase, TrackInfo, TrackKind};
use crate::{describe, origin};

/// Flags in byte 4 of an FLV header.
const FLV_AUDIO: u8 = 4;
const FLV_VIDEO: u8 = 1;

/// An input with what was found in it, and the packets read to find it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) input: Input,
    pub(crate) media: MediaInfo,
    pub(crate) converters: Vec<Converter>,
    pub(crate) ahead: VecDeque<Demuxed>,
}

/// What is to be opened, in libav's terms.
pub(crate) struct Request<'a> {
    pub(crate) opening: Opening,
    pub(crate) limits: Limits,
    pub(crate) options: &'a OpenOptions,
    /// Bytes of the file, if it is one.
    pub(crate) size: Option<u64>,
}

/// The bounds of a probe in libav's terms.
pub(crate) fn limits(options: &OpenOptions, access: Option<origin::Access>) -> Limits {
    Limits {
        probe_bytes: options.probe_bytes,
        analyze_micros: u64::try_from(options.analyze.as_micros()).unwrap_or(u64::MAX),
        protocols: access.map(|access| access.protocols.to_owned()),
        formats: origin::formats(access.is_some_and(|access| access.playlists)),
        options: Vec::new(),
        input: options.limits,
    }
}

/// Finds the format of an input and refuses those that are not self-contained.
pub(crate) fn recognise(
    io: Io,
    name: std::ffi::CString,
    guard: &Arc<Guard>,
    limits: &Limits,
    playlists: bool,
    context: &Context,
) -> Result<Opening, Error> {
    let mut opening =
        Opening::probe(io, name, guard, limits).map_err(|failure| context.error(failure, "open", None))?;
    let format = opening.format();
    let raw = match format.as_str() {
        "h264" => Some(Syntax::H264),
        "hevc" => Some(Syntax::Hevc),
        "obu" => Some(Syntax::Av1),
        _ => None,
    };
    if let Some(syntax) = raw {
        opening.set_screen(StreamScreen::new(syntax, limits.input));
        context.check_limits()?;
    }
    if origin::is_accepted(&format, playlists) {
        Ok(opening)
    } else {
        Err(Error::UnsupportedFormat { input: context.shown.clone(), format })
    }
}

/// Reads the header, and what else is needed to describe the input.
pub(crate) fn open(request: Request<'_>, context: &Context) -> Result<Opened, Error> {
    let Request { opening, limits, options, size } = request;
    let format = opening.format();
    let flags = opening.peek(5).get(4).copied().unwrap_or(0);
    let input = opening.open(&limits).map_err(|failure| context.error(failure, "open", None))?;
    check_tracks(&input, &limits, context)?;
    let mut reader = Reader {
        input,
        options,
        context,
        converters: Vec::new(),
        tracks: Vec::new(),
        ahead: VecDeque::new(),
    };

    let flv = format.split(',').any(|name| name == "flv") && flags & (FLV_AUDIO | FLV_VIDEO) != 0;
    let header_tells = if options.probe == Probe::Thorough {
        false
    } else if flv {
        reader.read_flv_start(flags)?
    } else {
        format.starts_with("mov,") && reader.input.media().tracks.iter().all(is_described)
    };
    if !header_tells {
        reader = reader.screened(&format, &limits)?;
        let result = reader.input.find_stream_info(limits.input.max_pixels);
        result.map_err(|failure| context.error(failure, "open", Some(&reader.input)))?;
        context.check_limits()?;
        check_tracks(&reader.input, &limits, context)?;
    }
    reader.adopt_tracks(&format);
    reader.read_first_packets()?;
    reader.finish(flv && header_tells, size)
}

fn check_tracks(input: &Input, limits: &Limits, context: &Context) -> Result<(), Error> {
    let most = limits.input.max_tracks;
    if u32::try_from(input.track_count()).is_ok_and(|count| count <= most) {
        return Ok(());
    }
    Err(context.exceeded(Exceeded::new("max_tracks", u64::from(most))))
}

/// Whether the header and the codec's configuration in it say all about a track. Only for the codecs whose configuration is
/// read here: what containers repeat of it is wrong often enough (the channels of Vorbis in MP4, the rate of MP3 in FLV).
fn is_described(track: &TrackInfo) -> bool {
    if !track.is_audible_or_visible() {
        return track.kind != TrackKind::Unknown;
    }
    match track.codec {
        Codec::H264 => describe::has_readable_avcc(track),
        Codec::Aac => describe::has_readable_audio_config(track),
        _ => false,
    }
}

struct Reader<'a> {
    input: Input,
    options: &'a OpenOptions,
    context: &'a Context,
    converters: Vec<Converter>,
    tracks: Vec<TrackInfo>,
    ahead: VecDeque<Demuxed>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<Option<Packet>, Error> {
        let result = self.input.read();
        result.map_err(|failure| self.context.error(failure, "open", Some(&self.input)))
    }

    /// Looks at the packets that libav's analysis would read, without its parsers, and opens the input again. Nothing is done
    /// for inputs without tracks that need it, for those whose bytes are looked at anyway, and for live inputs.
    fn screened(mut self, format: &str, limits: &Limits) -> Result<Self, Error> {
        if self.input.is_screened() || !self.input.has_source() {
            return Ok(self);
        }
        if !self.screen(format, limits)? {
            return Ok(self);
        }
        // Not by seeking: libav's analysis gives other times to the packets after a seek.
        let context = self.context;
        let Some(source) = self.input.into_source() else {
            return Err(Error::NotSeekable { input: context.shown.clone() });
        };
        let opening = recognise_source(source, context, &context.guard, limits)?;
        self.input = opening.open(limits).map_err(|failure| context.error(failure, "open", None))?;
        self.ahead.clear();
        Ok(self)
    }

    /// False if there is nothing to look at.
    fn screen(&mut self, format: &str, limits: &Limits) -> Result<bool, Error> {
        let exceeded = |exceeded| self.context.exceeded(exceeded);
        let of = |track: &TrackInfo| PacketScreen::of(track, format, limits.input);
        let mut screens = Vec::new();
        for track in self.input.media().tracks {
            let screen = of(&track);
            if let (Some(screen), Some(config)) = (&screen, &track.config) {
                screen.check_config(config).map_err(exceeded)?;
            }
            screens.push(screen);
        }
        let appear = matches!(format, "flv" | "mpegts" | "mpeg");
        if !appear && screens.iter().all(Option::is_none) {
            return Ok(false);
        }
        self.input.leave_unparsed(true);
        let mut left = limits.probe_bytes;
        while left > 0 {
            // libav's analysis meets the same failure.
            let Ok(Some(packet)) = self.input.read() else { break };
            left = left.saturating_sub(packet.data.len() as u64 + 1);
            if packet.track >= screens.len() {
                screens.extend(self.input.media().tracks.iter().skip(screens.len()).map(of));
            }
            if let Some(Some(screen)) = screens.get_mut(packet.track) {
                screen.check(&packet.data).map_err(exceeded)?;
            }
        }
        Ok(true)
    }

    /// FLV tells of its tracks by their first tags: reads until those the file header announces are there. False if that does
    /// not describe what is there.
    fn read_flv_start(&mut self, flags: u8) -> Result<bool, Error> {
        let mut reach = Reach::new(self.options);
        loop {
            let tracks = self.input.media().tracks;
            let found = |kind| tracks.iter().any(|track| track.kind == kind && is_described(track));
            let video = flags & FLV_VIDEO == 0 || found(TrackKind::Video);
            let audio = flags & FLV_AUDIO == 0 || found(TrackKind::Audio);
            if video && audio {
                return Ok(true);
            }
            // Headers announce tracks that never come; what has come counts.
            let enough = !tracks.is_empty() && tracks.iter().all(is_described);
            if !reach.has_room() {
                return Ok(enough);
            }
            let Some(packet) = self.read()? else { return Ok(enough) };
            reach.count(&packet, TimeBase::MILLIS);
            self.ahead.push_back(Demuxed::Raw(packet));
        }
    }

    /// Makes a converter for every track libav knows now.
    fn adopt_tracks(&mut self, format: &str) {
        for mut track in self.input.media().tracks.into_iter().skip(self.tracks.len()) {
            let raw_frame = (format == "h264").then(|| {
                let rate = describe::frame_rate(&track).unwrap_or(self.options.raw_frame_rate);
                TimeBase::new(rate.den, rate.num).rescale(1, track.time_base)
            });
            describe::complete(&mut track);
            let (converter, config) = Converter::new(&track, raw_frame);
            track.config = config;
            // The record may have been made just now.
            describe::complete(&mut track);
            if format == "avi" {
                // It counts empty chunks, too: pictures that are not there.
                track.frames = None;
            }
            self.converters.push(converter);
            self.tracks.push(track);
        }
    }

    /// Reads ahead until every playable track has shown a packet, and a configuration if its codec needs one.
    fn read_first_packets(&mut self) -> Result<(), Error> {
        let mut waiting: Vec<bool> = self.tracks.iter().map(TrackInfo::is_audible_or_visible).collect();
        // Overwritten by what the first packets say: libav leaves priming out, and invents a start for tracks without data.
        for track in &mut self.tracks {
            track.start = None;
        }
        let mut reach = Reach::new(self.options);
        for at in 0..self.ahead.len() {
            let Some(Demuxed::Raw(packet)) = self.ahead.get(at).cloned() else { continue };
            reach.count(&packet, self.time_base(packet.track));
            let converted = self.take_in(packet, &mut waiting);
            if let Some(place) = self.ahead.get_mut(at) {
                *place = converted;
            }
        }
        while waiting.contains(&true) && reach.has_room() {
            let Some(packet) = self.read()? else { break };
            // Tracks may appear while reading (FLV, MPEG-TS).
            if self.input.track_count() > self.tracks.len() {
                self.adopt_tracks("");
                waiting.resize(self.tracks.len(), false);
            }
            reach.count(&packet, self.time_base(packet.track));
            let converted = self.take_in(packet, &mut waiting);
            self.ahead.push_back(converted);
        }
        Ok(())
    }

    fn time_base(&self, track: usize) -> TimeBase {
        self.tracks.get(track).map_or(TimeBase::MICROS, |track| track.time_base)
    }

    fn take_in(&mut self, packet: Packet, waiting: &mut [bool]) -> Demuxed {
        let index = packet.track;
        let (Some(converter), Some(track)) = (self.converters.get_mut(index), self.tracks.get_mut(index))
        else {
            return Demuxed::Done(Converted::Dropped, index);
        };
        let mut converted = converter.convert(packet);
        if let (Converted::Packet(packet), Some(waits)) = (&mut converted, waiting.get_mut(index)) {
            // What the first packet brings holds from the beginning.
            if (track.config.is_none() || track.start.is_none()) && packet.config.is_some() {
                track.config = packet.config.take();
                describe::complete(track);
            }
            describe::complete_by_packet(track, packet);
            let needs_config = matches!(
                track.codec,
                Codec::H264 | Codec::Hevc | Codec::Av1 | Codec::Vp8 | Codec::Vp9 | Codec::Aac
            );
            track.start = track.start.or(packet.pts).or(packet.dts);
            *waits &= needs_config && track.config.is_none();
        } else if let Some(waits) = waiting.get_mut(index) {
            *waits &= converted != Converted::NoTimestamps;
        }
        Demuxed::Done(converted, index)
    }

    fn finish(mut self, from_tags: bool, size: Option<u64>) -> Result<Opened, Error> {
        let mut media = self.input.media();
        for track in &mut self.tracks {
            if from_tags && track.kind == TrackKind::Video {
                describe::guess_reordering(track, self.ahead.iter().filter_map(Demuxed::packet));
            }
        }
        media.tracks = self.tracks;
        describe::complete_media(&mut media, size);
        if !media.tracks.iter().any(TrackInfo::is_playable) {
            return Err(Error::NoPlayableTrack { input: self.context.shown.clone() });
        }
        self.converters.truncate(media.tracks.len());
        Ok(Opened { input: self.input, media, converters: self.converters, ahead: self.ahead })
    }
}

/// How much may be read ahead: by packets, bytes and media time.
struct Reach {
    packets: usize,
    bytes: u64,
    time: Duration,
    first: Option<Duration>,
}

impl Reach {
    fn new(options: &OpenOptions) -> Self {
        Self {
            packets: options.max_probe_packets,
            bytes: options.probe_bytes,
            time: options.analyze,
            first: None,
        }
    }

    fn has_room(&self) -> bool {
        self.packets > 0 && self.bytes > 0
    }

    fn count(&mut self, packet: &Packet, base: TimeBase) {
        self.packets = self.packets.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(packet.data.len() as u64);
        let Some(ticks) = packet.dts.or(packet.pts) else { return };
        let at = base.duration(ticks);
        if at.saturating_sub(*self.first.get_or_insert(at)) > self.time {
            self.packets = 0;
        }
    }
}
