//! What an RTMP server may be sent: tags with Enhanced RTMP headers only where both sides know of them.

use flowcast_rtmp::capability::Capabilities;
use flowcast_rtmp::chunk::SharedMessage;
use flowcast_rtmp::flv::enhanced::{self, Header};
use flowcast_rtmp::flv::tag::Tag;
use flowcast_rtmp::session::ClientSession;
use flowcast_rtmp::time::MediaTime;
use flowcast_rtmp::wire::WireBuf;

use super::feed::MediaSession;
use crate::error::Error;

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

/// A session that takes no tag its server does not.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    session: &'a mut ClientSession,
    enhanced: Enhanced,
    /// The code that was refused.
    refused: Option<[u8; 4]>,
}

impl<'a> Gate<'a> {
    pub(super) const fn new(session: &'a mut ClientSession, enhanced: Enhanced) -> Self {
        Self { session, enhanced, refused: None }
    }

    /// Refuses the connection if something did not pass.
    ///
    /// # Errors
    ///
    /// [`Error::CodecNotTaken`].
    pub(super) fn check(self, host: &str) -> Result<(), Error> {
        let Some(code) = self.refused else { return Ok(()) };
        let codec = String::from_utf8_lossy(&code).into_owned();
        let reason = match self.enhanced {
            Enhanced::Off => "the output is not enhanced",
            _ if self.session.capabilities().is_announced() => "the server does not list it",
            _ => "the server does not say that it knows Enhanced RTMP",
        };
        Err(Error::CodecNotTaken { host: host.to_owned(), codec, reason })
    }

    fn passes(&mut self, tag: &Tag) -> bool {
        if self.enhanced == Enhanced::Always || !enhanced::is_enhanced(tag.kind, &tag.body) {
            return true;
        }
        let allowed = self.enhanced == Enhanced::Announced;
        let capabilities = self.session.capabilities();
        let refuses = |code: &[u8; 4]| !allowed || !takes(capabilities, tag, *code);
        let code = Header::read(tag.kind, &tag.body).and_then(|header| header.four_cc);
        let refused = match code {
            Some(code) => Some(code).filter(refuses),
            None => enhanced::tracks(tag.kind, &tag.body).map(|track| track.four_cc).find(refuses),
        };
        self.refused = self.refused.or(refused);
        self.refused.is_none()
    }
}

fn takes(capabilities: &Capabilities, tag: &Tag, code: [u8; 4]) -> bool {
    capabilities.lists(code) || capabilities.codec(tag.kind, code) != Default::default()
}

impl MediaSession for Gate<'_> {
    fn wire(&mut self) -> &mut WireBuf {
        self.session.wire()
    }
    fn set_base(&mut self, base: MediaTime) {
        self.session.set_base(base);
    }
    fn send_tag(&mut self, tag: &Tag) {
        if self.passes(tag) {
            MediaSession::send_tag(self.session, tag);
        }
    }
    fn send_shared(&mut self, message: &SharedMessage) {
        if self.passes(message.tag()) {
            self.session.send_shared(message);
        }
    }
}
