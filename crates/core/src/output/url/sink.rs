//! What becomes of tags on their way to the network: a container, and a connection that takes it.
//!
//! In: tags with times from zero. Out: MPEG-TS in datagrams (SRT, UDP), frames of sound (Icecast), RTP (RTSP). Where the codec configuration changes,
//! MPEG-TS goes on with new tables; the others need a new connection. On the worker's thread, which may block in every call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flowcast_av as av;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec;

use super::address::{Address, Mode, Protocol};
use super::dial::{self, Failed};
use super::pace;
use crate::error::Error;
use crate::output::cues::Weaver;
use crate::output::file::in_mpeg_ts;
use crate::output::media::{Container, Media, NotHeld, Track};
use crate::output::packets::{self, Packets};
use crate::ring::Headers;

/// How far MPEG-TS tells times ahead of the clock in it, in microseconds: decoders need the time to take in a picture.
const TS_DELAY_MICROS: &str = "500000";
/// The payload of a datagram where the URL does not say: seven packets of MPEG-TS, which fit into an Ethernet frame with the headers of SRT or RTP.
const PAYLOAD: usize = 1316;
/// How long SRT is given to send again what is lost at the very end.
const LINGER: Duration = Duration::from_millis(300);

/// What the worker has to know and to tell while it sends.
pub(super) struct Watch {
    pub(super) interrupt: av::Interrupt,
    /// How long one write may take.
    pub(super) stall_after: Duration,
    /// How long connecting may take, except for who waits to be called.
    pub(super) open_within: Duration,
}

impl Watch {
    /// Waits, unless it is to end.
    fn pause(&self, length: Duration) {
        if !length.is_zero() && !self.interrupt.is_cancelled() {
            std::thread::park_timeout(length);
        }
    }
}

/// A container and its connection.
pub(super) struct Sink {
    address: Arc<Address>,
    /// Where the host was found.
    peer: Option<SocketAddr>,
    /// The codecs it takes.
    container: Container,
    media: Media,
    /// All headers so far: a container that begins anew needs them.
    headers: Headers,
    connection: Option<av::Connection>,
    writer: Option<Writer>,
    /// What puts timed data into a transport stream, if there is any.
    weaver: Option<Weaver>,
    /// Containers that were begun.
    begun: u64,
    /// Bytes sent.
    pub(super) bytes: u64,
}

enum Writer {
    /// What it writes goes to the connection.
    Bytes(av::MemoryMuxer, Packets),
    /// It has a connection of its own.
    Rtp(av::NetworkMuxer, Packets),
}

impl Sink {
    /// Of an address; `peer` is where its host was found.
    pub(super) fn new(address: Arc<Address>, peer: Option<SocketAddr>) -> Self {
        let container = container(address.protocol);
        Self {
            address,
            peer,
            container,
            media: Media::new(container),
            headers: Headers::default(),
            connection: None,
            writer: None,
            weaver: None,
            begun: 0,
            bytes: 0,
        }
    }

    /// Connects, if that needs nothing of the stream; whether it did.
    ///
    /// # Errors
    ///
    /// Why it is not connected.
    ///
    /// # Blocking
    ///
    /// On the network.
    pub(super) fn open_first(&mut self, watch: &Watch) -> Result<bool, Error> {
        if !matches!(self.address.protocol, Protocol::Srt | Protocol::Udp) {
            return Ok(false);
        }
        let waits = self.address.mode() == Mode::Listener;
        let within = (!waits).then_some(watch.open_within);
        self.connection = Some(self.connect(watch, within, None)?);
        Ok(true)
    }

    fn connect(
        &self,
        watch: &Watch,
        within: Option<Duration>,
        content_type: Option<&str>,
    ) -> Result<av::Connection, Error> {
        let payload = self.payload();
        let (url, options) =
            dial::connection(&self.address, self.peer, payload, watch.open_within, content_type);
        watch.interrupt.set_deadline(within.map(|within| Instant::now() + within));
        let opened = av::Connection::open(&url, &options, &watch.interrupt);
        watch.interrupt.set_deadline(None);
        opened.map_err(|error| self.failed(error).opening(watch.open_within))
    }

    fn failed(&self, error: av::Error) -> Failed<'_> {
        Failed { address: &self.address, peer: self.peer, error }
    }

    fn payload(&self) -> usize {
        self.address.setting("pkt_size").and_then(|size| size.parse().ok()).unwrap_or(PAYLOAD)
    }

    /// Whether it is connected.
    pub(super) fn is_open(&self) -> bool {
        self.connection.is_some() || matches!(self.writer, Some(Writer::Rtp(..)))
    }

    /// Takes tags, and sends what they complete; `waiting` is how many turns wait behind these.
    ///
    /// # Errors
    ///
    /// The connection is lost, or cannot be had; [`Error::CodecNotTaken`].
    ///
    /// # Blocking
    ///
    /// On the network, and to spread the bytes over time.
    pub(super) fn write(
        &mut self,
        tags: &[Tag],
        watch: &Watch,
        waiting: &dyn Fn() -> usize,
    ) -> Result<(), Error> {
        for tag in tags {
            self.headers.note(tag);
            self.headers.note_frame(tag);
            if !self.media.fits(tag) {
                self.put(true, watch, waiting)?;
                self.begin_anew(watch)?;
            }
            self.take(tag)?;
        }
        self.put(false, watch, waiting)
    }

    /// Sends what is left, and says goodbye.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    ///
    /// # Blocking
    ///
    /// On the network.
    pub(super) fn finish(mut self, watch: &Watch) -> Result<u64, Error> {
        self.put(true, watch, &|| 0)?;
        if self.address.protocol == Protocol::Srt && self.bytes > 0 {
            let until = Instant::now() + LINGER;
            while Instant::now() < until && !watch.interrupt.is_cancelled() {
                watch.pause(LINGER / 10);
            }
        }
        // The goodbye of RTSP is said when it is dropped.
        watch.interrupt.set_deadline(Some(Instant::now() + watch.open_within));
        Ok(self.bytes)
    }

    fn take(&mut self, tag: &Tag) -> Result<(), Error> {
        self.media.take(tag).map_err(|error| match error.downcast::<NotHeld>() {
            Ok(NotHeld { codec, .. }) => Error::CodecNotTaken {
                host: self.address.peer(),
                codec: codec.to_owned(),
                reason: self.container.name,
            },
            Err(source) => Error::System { what: "cannot take the stream apart", source: source.into() },
        })
    }

    /// The configuration has changed: what follows is in a container of its own.
    ///
    /// # Blocking
    ///
    /// On the network: libavformat announces once, when it connects (ANNOUNCE, RFC 2326, 10.3), so it says goodbye and is connected anew, while what comes waits.
    fn begin_anew(&mut self, watch: &Watch) -> Result<(), Error> {
        watch.interrupt.set_deadline(Some(Instant::now() + watch.open_within));
        self.writer = None;
        watch.interrupt.set_deadline(None);
        let before = std::mem::replace(&mut self.media, Media::new(self.container));
        let headers: Vec<_> = self.headers.tags().cloned().collect();
        headers.iter().try_for_each(|header| self.take(header))?;
        if self.address.protocol == Protocol::Icecast {
            let codec = |media: &Media| media.tracks().first().map(|track| track.codec);
            if codec(&before) != codec(&self.media) {
                let source =
                    std::io::Error::other("the codec has changed, and with it the type of the content");
                return Err(Error::ConnectionLost { host: self.address.peer(), source: source.into() });
            }
        }
        Ok(())
    }

    fn put(&mut self, is_end: bool, watch: &Watch, waiting: &dyn Fn() -> usize) -> Result<(), Error> {
        if !self.media.settle(is_end) {
            return Ok(());
        }
        if self.writer.is_none() {
            self.writer = Some(self.begin(watch)?);
        }
        let (samples, cues) = (self.media.drain(), self.media.drain_cues());
        let Some(writer) = &mut self.writer else { return Ok(()) };
        if let Some(weaver) = &mut self.weaver {
            for sample in &samples {
                let is_video = self.media.tracks().get(sample.track).is_some_and(Track::is_video);
                weaver.note(is_video, sample.pts_ms);
            }
        }
        watch.interrupt.set_deadline(Some(Instant::now() + watch.stall_after));
        let mut written = Vec::new();
        let mut sent = 0;
        let mut result = Ok(());
        for sample in samples {
            let length = sample.data.len() as u64;
            result = match writer {
                Writer::Bytes(muxer, packets) => muxer.write(&packets.packet(self.media.tracks(), sample)),
                Writer::Rtp(muxer, packets) => {
                    sent += length;
                    muxer.write(&packets.packet(self.media.tracks(), sample))
                }
            };
            if result.is_err() {
                break;
            }
        }
        if let (Writer::Bytes(muxer, _), Ok(())) = (writer, &result) {
            result = muxer.flush();
            written = muxer.take().appended;
        }
        if let Some(weaver) = &mut self.weaver {
            written = weaver.weave(&written);
            cues.iter().for_each(|cue| written.extend(weaver.packets(cue)));
        }
        self.bytes += sent;
        let result = result.map_err(|error| self.failed(error).sending(watch.stall_after));
        result.and_then(|()| self.send(&written, watch, waiting))
    }

    fn send(&mut self, bytes: &[u8], watch: &Watch, waiting: &dyn Fn() -> usize) -> Result<(), Error> {
        let payload = self.payload();
        let Some(connection) = &mut self.connection else { return Ok(()) };
        // Only datagrams are lost where too many come at once.
        let (piece, datagram) = match connection.datagram() {
            Some(most) => (pace::piece(bytes.len(), payload), payload.min(most)),
            None => (bytes.len().max(1), bytes.len().max(1)),
        };
        for (place, piece) in bytes.chunks(piece).enumerate() {
            if place > 0 {
                watch.pause(pace::pause(waiting()));
            }
            // Datagrams wait for nothing that could be interrupted.
            if watch.interrupt.is_cancelled() {
                return Err(Error::Cancelled { what: "sending" });
            }
            watch.interrupt.set_deadline(Some(Instant::now() + watch.stall_after));
            let result = piece.chunks(datagram).try_for_each(|datagram| connection.write(datagram));
            watch.interrupt.set_deadline(None);
            if let Err(error) = result {
                return Err(self.failed(error).sending(watch.stall_after));
            }
            self.bytes += piece.len() as u64;
        }
        Ok(())
    }

    /// Begins a container with the tracks that are known, and connects if that had to wait for them.
    fn begin(&mut self, watch: &Watch) -> Result<Writer, Error> {
        let tracks = self.media.tracks();
        let (infos, packets) = (packets::infos(tracks), Packets::new(tracks));
        self.begun += 1;
        match self.address.protocol {
            Protocol::Srt | Protocol::Udp => {
                let mut options = dial::muxer_options(&self.address);
                options.push(("max_delay".to_owned(), TS_DELAY_MICROS.to_owned()));
                if self.begun > 1 {
                    options.push(("mpegts_flags".to_owned(), "initial_discontinuity".to_owned()));
                }
                let muxer = av::MemoryMuxer::create("mpegts", false, &infos, &options)?;
                self.weaver = Weaver::new(self.media.data_tracks());
                Ok(Writer::Bytes(muxer, packets))
            }
            Protocol::Icecast => {
                let (muxer, content_type) = sound_of(tracks);
                if self.connection.is_none() {
                    self.connection =
                        Some(self.connect(watch, Some(watch.open_within), Some(content_type))?);
                }
                let plain = [("write_xing", "0"), ("id3v2_version", "0")];
                let plain = plain.map(|(key, value)| (key.to_owned(), value.to_owned()));
                Ok(Writer::Bytes(av::MemoryMuxer::create(muxer, false, &infos, &plain)?, packets))
            }
            Protocol::Rtsp => {
                let (url, options) = dial::announcement(&self.address);
                watch.interrupt.set_deadline(Some(Instant::now() + watch.open_within));
                let opened = av::NetworkMuxer::open(&url, &infos, &options, &watch.interrupt);
                watch.interrupt.set_deadline(None);
                let muxer = opened.map_err(|error| self.failed(error).opening(watch.open_within))?;
                Ok(Writer::Rtp(muxer, packets))
            }
        }
    }
}

/// What a protocol carries. The name is the reason why something else is not sent.
fn container(protocol: Protocol) -> Container {
    match protocol {
        Protocol::Srt | Protocol::Udp => Container { name: "MPEG-TS does not carry it", takes: in_mpeg_ts },
        Protocol::Icecast => Container {
            name: "Icecast is sent AAC and MP3",
            takes: |codec| {
                matches!(codec, Codec::Audio(AudioCodec::Aac | AudioCodec::Mp3 | AudioCodec::Mp38k))
            },
        },
        Protocol::Rtsp => Container {
            name: "RTSP is sent H.264, HEVC, VP8, VP9, AAC, MP3 and Opus",
            takes: |codec| match codec {
                Codec::Video(codec) => {
                    matches!(codec, VideoCodec::Avc | VideoCodec::Hevc | VideoCodec::Vp8 | VideoCodec::Vp9)
                }
                Codec::Audio(codec) => {
                    matches!(codec, AudioCodec::Aac | AudioCodec::Mp3 | AudioCodec::Mp38k | AudioCodec::Opus)
                }
            },
        },
    }
}

/// libav's muxer for the sound of an Icecast stream, and what it is called there.
fn sound_of(tracks: &[Track]) -> (&'static str, &'static str) {
    match tracks.first().map(|track| track.codec) {
        Some(Codec::Audio(AudioCodec::Aac)) => ("adts", "audio/aac"),
        _ => ("mp3", "audio/mpeg"),
    }
}
