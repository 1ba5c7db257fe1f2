//! What a lane's items are made of: by it they are compared with the one before.
//!
//! In: the headers of an item, and what is known of it. Out: its codec configurations, or of MP3, which has none, its sampling
//! rate.

use flowcast_rtmp::flv::script::Metadata;
use flowcast_rtmp::flv::tag::{Tag, TagBody, TagKind};

use super::super::item::Item;

/// The parameters an item begins with.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parameters {
    pub(super) video: Option<TagBody>,
    pub(super) audio: Option<Sound>,
}

/// Those of its sound.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Sound {
    /// A sequence header.
    Header(TagBody),
    /// A codec without one, MP3, at this rate in hertz.
    Plain(u32),
}

impl Parameters {
    /// Of an item that is open.
    pub(super) fn of(item: &Item) -> Self {
        let headers = item.headers();
        let header = |kind| {
            let is_it = |tag: &&Tag| tag.kind == kind && tag.is_sequence_header() && tag.track() == 0;
            let tag = headers.iter().find(is_it);
            tag.map(|tag| tag.body.clone())
        };
        let audio = header(TagKind::Audio).map(Sound::Header);
        Self { video: header(TagKind::Video), audio: audio.or_else(|| plain(item, headers)) }
    }

    /// What changes if an item of `other` parameters follows; `None` if nothing does. One without sound, or without a picture,
    /// changes nothing.
    pub(super) fn change(&self, other: &Self) -> Option<&'static str> {
        if matches!((&self.video, &other.video), (Some(one), Some(other)) if one != other) {
            return Some("the video's parameters");
        }
        matches!((&self.audio, &other.audio), (Some(one), Some(other)) if one != other)
            .then_some("the audio's parameters")
    }

    /// Another item begins.
    pub(super) fn replace(&mut self, other: &Self) {
        if other.video.is_some() {
            self.video.clone_from(&other.video);
        }
        if other.audio.is_some() {
            self.audio.clone_from(&other.audio);
        }
    }
}

/// Audio without a sequence header: that shows in what is known of the item, or in its metadata.
fn plain(item: &Item, headers: &[Tag]) -> Option<Sound> {
    if let Some(facts) = item.known() {
        return facts.audio.map(|audio| Sound::Plain(audio.rate));
    }
    let metadata = headers.iter().find(|tag| tag.is_metadata())?;
    let metadata = Metadata::parse(&metadata.body.to_bytes()).ok()?;
    metadata.audiocodecid?;
    Some(Sound::Plain(metadata.audiosamplerate.unwrap_or(0.0) as u32))
}
