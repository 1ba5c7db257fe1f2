//! What one output takes of a stream: codecs, tracks and forms of headers that its peer knows of.
//!
//! In: tags of one track each. Out: the same tags, the same in another form, or nothing, and what has to be reported about that. A tag is
//! judged by its codec and its track, not by the form of its header. On the stream's thread.

use flowcast_rtmp::capability::{Capabilities, Extended};
use flowcast_rtmp::chunk::SharedMessage;
use flowcast_rtmp::flv::audio::AudioCodec;
use flowcast_rtmp::flv::data::{self, Data};
use flowcast_rtmp::flv::enhanced;
use flowcast_rtmp::flv::tag::{Codec, Tag};
use flowcast_rtmp::flv::video::VideoCodec;
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

use super::feed::MediaSession;
use crate::error::Error;
use crate::event::EventKind;
use crate::id::OutputId;
use crate::ring::{Together, is_plain};

/// The codecs reported for one output.
const MOST_TOLD: usize = 8;

/// Whether codecs are sent that only Enhanced RTMP has codes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Enhanced {
    /// No.
    #[default]
    Off,
    /// If the server says that it takes them.
    Announced,
    /// Whatever the server says.
    Always,
}

impl Enhanced {
    /// Whether we say that we know it.
    pub(crate) const fn is_said(self) -> bool {
        !matches!(self, Self::Off)
    }
}

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// A server, which is sent no codec that it does not take.
    Server(Enhanced),
    /// A player, which asked for the stream and so has a use for its codecs.
    Player,
    /// A file.
    File,
}

/// What an output takes, and what was reported about the rest.
#[derive(Debug, Clone)]
pub struct Intake {
    peer: Peer,
    capabilities: Capabilities,
    /// Tracks beside the first of their kind, too.
    all_tracks: bool,
    /// Timed data, too.
    takes_data: bool,
    refused: Option<[u8; 4]>,
    told: Told,
    news: Vec<News>,
}

/// What was reported about an output; kept from one connection to the next.
#[derive(Debug, Clone, Default)]
pub(crate) struct Told {
    tracks: [bool; 2],
    data: bool,
    codecs: Vec<Codec>,
}

#[derive(Debug, Clone)]
enum News {
    Track(u8),
    Data(String),
    Codec(Codec),
}

/// What happens to a tag.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fit {
    AsItIs,
    /// In another form.
    As(Tag),
    Not,
}

impl Intake {
    /// Of a player that announced `capabilities`.
    #[must_use]
    pub fn player(capabilities: Capabilities) -> Self {
        Self::new(Peer::Player, capabilities, false, Told::default())
    }

    /// Of a server; `all_tracks` whether it announces that or not.
    pub(crate) fn server(
        enhanced: Enhanced,
        capabilities: Capabilities,
        all_tracks: bool,
        told: Told,
    ) -> Self {
        Self::new(Peer::Server(enhanced), capabilities, all_tracks, told)
    }

    /// Of a file.
    pub(crate) fn file(all_tracks: bool) -> Self {
        Self::new(Peer::File, Capabilities::default(), all_tracks, Told::default())
    }

    /// The same of what carries timed data, if it takes all tracks.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "libav writes what carries it"))]
    pub(crate) fn with_data(self, carries: bool) -> Self {
        Self { takes_data: carries && self.all_tracks, ..self }
    }

    fn new(peer: Peer, capabilities: Capabilities, all_tracks: bool, told: Told) -> Self {
        let is_enhanced = peer != Peer::Server(Enhanced::Off);
        let all_tracks =
            all_tracks || (is_enhanced && capabilities.extended().contains(Extended::MULTITRACK));
        Self { peer, capabilities, all_tracks, takes_data: false, refused: None, told, news: Vec::new() }
    }

    /// What was reported so far.
    pub(crate) fn into_told(self) -> Told {
        self.told
    }

    /// Refuses the connection if something did not pass.
    ///
    /// # Errors
    ///
    /// [`Error::CodecNotTaken`].
    pub(super) fn check(&self, host: &str) -> Result<(), Error> {
        let Some(code) = self.refused else { return Ok(()) };
        let codec = String::from_utf8_lossy(&code).into_owned();
        let reason = match self.peer {
            Peer::Server(Enhanced::Off) => "the output is not enhanced",
            _ if self.capabilities.is_announced() => "the server does not list it",
            _ => "the server does not announce Enhanced RTMP",
        };
        Err(Error::CodecNotTaken { host: host.to_owned(), codec, reason })
    }

    /// What has to be reported about output `output` since the last call.
    pub fn take_news(&mut self, output: OutputId) -> impl Iterator<Item = EventKind> + '_ {
        let reason = match self.peer {
            Peer::File => "one track of a kind is taken unless Output::all_tracks is set",
            _ => "the peer does not announce that it takes several tracks",
        };
        self.news.drain(..).map(move |news| match news {
            News::Track(track) => EventKind::OutputTrackSkipped { output, track, reason: reason.to_owned() },
            News::Data(names) => {
                let reason = format!("timed data goes to MPEG-TS, with Output::all_tracks: {names}");
                EventKind::OutputTrackSkipped { output, track: 0, reason }
            }
            News::Codec(codec) => EventKind::OutputCodecRare { output, codec: codec.name().to_owned() },
        })
    }

    /// What happens to a tag.
    pub(super) fn fit(&mut self, tag: &Tag) -> Fit {
        if data::is_data(tag) {
            return self.fit_data(tag);
        }
        let takes_mod_ex = self.peer == Peer::File || self.has(Extended::MOD_EX);
        if tag.is_script() || (!matches!(self.peer, Peer::Server(_)) && is_plain(tag)) {
            return Fit::AsItIs;
        }
        let track = tag.track();
        if track != 0 && !self.all_tracks {
            self.tell_track(tag.is_audio(), track);
            return Fit::Not;
        }
        if !enhanced::is_enhanced(tag.kind, &tag.body) {
            return self.fit_numbered(tag);
        }
        let code = enhanced::four_cc(tag.kind, &tag.body);
        match code {
            Some(code)
                if track == 0 && enhanced::has_number(tag.kind, code) && self.prefers_number(tag, code) =>
            {
                // What cannot be said in FLV's own form is no part of the track.
                enhanced::with_number(tag).map_or(Fit::Not, Fit::As)
            }
            Some(code) if matches!(self.peer, Peer::Server(_)) && !self.takes(tag, code) => {
                if track == 0 {
                    self.refused.get_or_insert(code);
                } else {
                    self.tell_track(tag.is_audio(), track);
                }
                Fit::Not
            }
            _ if enhanced::has_mod_ex(tag) && !takes_mod_ex => {
                enhanced::without_mod_ex(tag).map_or(Fit::AsItIs, Fit::As)
            }
            _ => Fit::AsItIs,
        }
    }

    /// The same of timed data, which has a form of our own.
    fn fit_data(&mut self, tag: &Tag) -> Fit {
        if self.takes_data {
            return Fit::AsItIs;
        }
        if let (Some(Data::Tracks(tracks)), false) =
            (data::parse(tag), self.told.data || self.peer == Peer::Player)
        {
            self.told.data = true;
            let names: Vec<_> = tracks.iter().map(|codec| codec.name()).collect();
            self.news.push(News::Data(names.join(", ")));
        }
        Fit::Not
    }

    /// The same of a tag with FLV's own header.
    fn fit_numbered(&mut self, tag: &Tag) -> Fit {
        if let Some(code) = enhanced::number_four_cc(tag) {
            let rewritten = || enhanced::with_four_cc(tag).map_or(Fit::Not, Fit::As);
            return match self.peer {
                Peer::Server(_) if !self.takes(tag, code) => {
                    self.refused.get_or_insert(code);
                    Fit::Not
                }
                // A peer that announced nothing may be one that knows only the number.
                Peer::Player if !self.takes(tag, code) => Fit::AsItIs,
                _ => rewritten(),
            };
        }
        if let Some(codec) = tag.codec().filter(|&codec| is_rare(codec))
            && !self.told.codecs.contains(&codec)
            && self.told.codecs.len() < MOST_TOLD
        {
            self.told.codecs.push(codec);
            self.news.push(News::Codec(codec));
        }
        Fit::AsItIs
    }

    /// Whether the peer reads the codec under its FourCC.
    fn takes(&self, tag: &Tag, code: [u8; 4]) -> bool {
        let announced =
            || self.capabilities.lists(code) || self.capabilities.codec(tag.kind, code) != Default::default();
        match self.peer {
            Peer::Server(Enhanced::Off) => false,
            Peer::Server(Enhanced::Always) | Peer::File => true,
            Peer::Server(Enhanced::Announced) | Peer::Player => announced(),
        }
    }

    /// Whether FLV's own form serves the peer better than the FourCC; every program reads a file in that form.
    fn prefers_number(&self, tag: &Tag, code: [u8; 4]) -> bool {
        self.peer == Peer::File || !self.takes(tag, code)
    }

    fn has(&self, capability: Extended) -> bool {
        self.peer != Peer::Server(Enhanced::Off) && self.capabilities.extended().contains(capability)
    }

    /// Tells of tracks, of video and of audio, that the peer was not sent.
    fn leave_out(&mut self, tracks: [Option<u8>; 2]) {
        for (is_audio, track) in [false, true].into_iter().zip(tracks) {
            if let Some(track) = track {
                self.tell_track(is_audio, track);
            }
        }
    }

    fn tell_track(&mut self, is_audio: bool, track: u8) {
        if !std::mem::replace(&mut self.told.tracks[usize::from(is_audio)], true) {
            self.news.push(News::Track(track));
        }
    }
}

/// Codecs that servers pass on and hardly anything plays: all that FLV has a number for but H.264, AAC and MP3.
fn is_rare(codec: Codec) -> bool {
    match codec {
        Codec::Video(codec) => codec != VideoCodec::Avc && codec.wire() != 0,
        Codec::Audio(codec) => !matches!(codec, AudioCodec::Aac | AudioCodec::Mp3 | AudioCodec::Mp38k),
    }
}

/// A session that is sent what its peer takes.
#[derive(Debug)]
pub struct Gate<'a, S> {
    session: &'a mut S,
    intake: &'a mut Intake,
}

impl<'a, S: MediaSession> Gate<'a, S> {
    /// `session`, whose peer takes what `intake` says.
    #[must_use]
    pub const fn new(session: &'a mut S, intake: &'a mut Intake) -> Self {
        Self { session, intake }
    }
}

impl<S: MediaSession> MediaSession for Gate<'_, S> {
    fn wire(&mut self) -> &mut WireBuf {
        self.session.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.session.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        match self.intake.fit(tag) {
            Fit::AsItIs => self.session.send_tag(tag),
            Fit::As(tag) => self.session.send_tag(&tag),
            Fit::Not => {}
        }
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        match self.intake.fit(message.tag()) {
            Fit::AsItIs => self.session.send_shared(message),
            Fit::As(tag) => self.session.send_tag(&tag),
            Fit::Not => {}
        }
    }
    fn send_batch(&mut self, tags: &Together) -> bool {
        let is_sent = self.session.send_batch(tags);
        if is_sent {
            self.intake.leave_out(tags.left_out);
        }
        is_sent
    }
    fn takes_all_tracks(&self) -> bool {
        self.intake.all_tracks
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use flowcast_rtmp::amf0::Value;
    use flowcast_rtmp::flv::tag::TagKind;

    use super::*;
    use crate::ring::is_alike;

    fn tag(kind: TagKind, body: &[u8]) -> Tag {
        Tag::from_wire(kind, MediaTime::ZERO, Bytes::copy_from_slice(body))
    }

    fn server(enhanced: Enhanced, capabilities: Capabilities) -> Intake {
        Intake::server(enhanced, capabilities, false, Told::default())
    }

    /// Of a peer that takes HEVC and sound in AAC under their FourCCs, and several tracks if `extended` says so.
    fn announced(extended: f64) -> Capabilities {
        let list = Value::StrictArray(vec![Value::from("hvc1"), Value::from("mp4a")]);
        Capabilities::from_object(&Value::object([("fourCcList", list), ("capsEx", Value::from(extended))]))
    }

    fn fits(intake: &mut Intake, kind: TagKind, body: &[u8]) -> Option<Vec<u8>> {
        let tag = tag(kind, body);
        match intake.fit(&tag) {
            Fit::AsItIs => Some(body.to_vec()),
            Fit::As(tag) => Some(tag.body.to_bytes().to_vec()),
            Fit::Not => None,
        }
    }

    const SECOND_SOUND: &[u8] = b"\x95\x01mp4a\x01frame";
    const SECOND_PICTURE: &[u8] = b"\x96\x01hvc1\x01\0\0\0picture";

    #[test]
    fn a_second_track_is_for_who_announced_several_and_ends_nothing() {
        for (mut intake, takes) in [
            (server(Enhanced::Off, announced(2.0)), false),
            (server(Enhanced::Announced, announced(0.0)), false),
            (server(Enhanced::Announced, announced(2.0)), true),
            (server(Enhanced::Always, Capabilities::default()), false),
            (Intake::server(Enhanced::Always, Capabilities::default(), true, Told::default()), true),
            (Intake::player(Capabilities::default()), false),
            (Intake::player(announced(2.0)), true),
            (Intake::file(false), false),
            (Intake::file(true), true),
        ] {
            for (kind, body) in [(TagKind::Audio, SECOND_SOUND), (TagKind::Video, SECOND_PICTURE)] {
                for _ in 0..3 {
                    assert_eq!(fits(&mut intake, kind, body).is_some(), takes, "{intake:?}");
                }
            }
            assert!(intake.check("host").is_ok());
            let told = intake.take_news(OutputId(3)).count();
            assert_eq!(told, if takes { 0 } else { 2 }, "once for each kind: {intake:?}");
        }
    }

    #[test]
    fn a_track_that_the_server_cannot_decode_is_left_out_and_the_first_one_refused() {
        let mut intake = server(Enhanced::Announced, announced(2.0));
        assert_eq!(fits(&mut intake, TagKind::Video, b"\x96\x01av01\x01picture"), None);
        assert!(intake.check("host").is_ok());
        assert_eq!(fits(&mut intake, TagKind::Video, b"\x91av01picture"), None);
        assert!(intake.check("host").is_err());
    }

    #[test]
    fn the_codec_counts_and_not_the_form_of_its_header() {
        // HEVC by its number, by its FourCC; H.264 and AAC by their FourCCs.
        let hevc = [&b"\x1c\x01\0\0\0p"[..], b"\x93hvc1p"];
        for body in hevc {
            let mut plain = server(Enhanced::Off, announced(0.0));
            assert_eq!(fits(&mut plain, TagKind::Video, body), None);
            assert!(plain.check("host").is_err_and(|error| error.code() == "CODEC_NOT_TAKEN"), "{body:?}");
            let mut taker = server(Enhanced::Announced, announced(0.0));
            assert_eq!(fits(&mut taker, TagKind::Video, body).as_deref(), Some(hevc[1]));
            assert_eq!(fits(&mut Intake::file(false), TagKind::Video, body).as_deref(), Some(hevc[1]));
            let mut player = Intake::player(Capabilities::default());
            assert_eq!(
                fits(&mut player, TagKind::Video, body).as_deref(),
                Some(body),
                "players are not asked"
            );
        }
        for mut intake in [
            server(Enhanced::Off, Capabilities::default()),
            server(Enhanced::Announced, Capabilities::default()),
            Intake::player(Capabilities::default()),
        ] {
            let sound = fits(&mut intake, TagKind::Audio, b"\x91mp4aframe");
            let picture = fits(&mut intake, TagKind::Video, b"\x91avc1\0\0\0p");
            assert_eq!(
                (sound.as_deref(), picture.as_deref()),
                (Some(&b"\xaf\x01frame"[..]), Some(&b"\x17\x01\0\0\0p"[..]))
            );
            assert!(intake.check("host").is_ok());
        }
        let mut taker = server(Enhanced::Announced, announced(0.0));
        let sound = fits(&mut taker, TagKind::Audio, b"\x91mp4aframe");
        assert_eq!(sound.as_deref(), Some(&b"\x91mp4aframe"[..]));
    }

    #[test]
    fn a_push_tells_of_codecs_that_hardly_anything_plays_once() {
        for (kind, body, name) in [
            (TagKind::Audio, &[0x82, 1][..], "mulaw"),
            (TagKind::Audio, &[0x72, 1], "alaw"),
            (TagKind::Audio, &[0xB2, 1], "speex"),
            (TagKind::Audio, &[0x62, 1], "nellymoser"),
            (TagKind::Audio, &[0x12, 1], "adpcm"),
            (TagKind::Video, &[0x12, 1], "h263"),
            (TagKind::Video, &[0x14, 1], "vp6"),
            (TagKind::Video, &[0x13, 1], "screen"),
        ] {
            let mut intake = server(Enhanced::Off, Capabilities::default());
            for _ in 0..3 {
                assert!(fits(&mut intake, kind, body).is_some());
            }
            let news: Vec<_> = intake.take_news(OutputId(1)).collect();
            let [EventKind::OutputCodecRare { codec, .. }] = &news[..] else { panic!("{news:?}") };
            assert!(
                codec.contains(name) || tag(kind, body).codec().is_some_and(|c| c.name() == codec),
                "{codec}"
            );
        }
        let mut intake = server(Enhanced::Off, Capabilities::default());
        for (kind, body) in [
            (TagKind::Audio, &[0xAF, 1, 1][..]),
            (TagKind::Audio, &[0x2F, 1]),
            (TagKind::Video, &[0x17, 1, 0, 0, 0, 1]),
        ] {
            assert_eq!(fits(&mut intake, kind, body).as_deref(), Some(body));
        }
        assert_eq!(intake.take_news(OutputId(1)).count(), 0);
    }

    #[test]
    fn what_a_publisher_says_by_four_cc_is_sent_to_every_player_as_it_is() {
        for (kind, body) in [
            (TagKind::Video, &b"\x91avc1\0\0\0p"[..]),
            (TagKind::Video, b"\x90avc1record"),
            (TagKind::Audio, b"\x91mp4aframe"),
            (TagKind::Audio, b"\x91.mp3frame"),
        ] {
            let tag = enhanced::in_flv_form(tag(kind, body));
            assert!(is_alike(&tag), "{body:?}");
            for mut intake in
                [Intake::player(Capabilities::default()), Intake::player(announced(2.0)), Intake::file(false)]
            {
                assert_eq!(intake.fit(&tag), Fit::AsItIs, "{body:?}");
            }
        }
    }

    #[test]
    fn fractions_of_a_millisecond_are_for_who_reads_them() {
        const BODY: &[u8] = b"\x97\x02\0\0\x01\x01Opusx";
        let mut plain = Intake::player(Capabilities::default());
        assert_eq!(fits(&mut plain, TagKind::Audio, BODY).as_deref(), Some(&b"\x91Opusx"[..]));
        let mut knows = Intake::player(announced(4.0));
        assert_eq!(fits(&mut knows, TagKind::Audio, BODY).as_deref(), Some(BODY));
    }
}
