//! What is decoded once for all renditions.
//!
//! In: the tags of the source. Out: each picture in the sizes that are wanted, and the sound, to the encoders ([`Rung`]). On a thread of its
//! own.

use std::path::Path;
use std::sync::Arc;

use flowcast_av::VideoFrame;

use super::encoding::Rung;
use super::queue::{Begun, Item, Size};
use super::shared::Shared;
use crate::error::Error;
use crate::event::EventKind;
use crate::lap::{Finish, Stop};
use crate::publish::encoder::{Feed, TagPackets};
use crate::sys::{CodecHost, Leave, yield_to_others};
use crate::tracks::Selection;
use crate::transcode::{Encoders, PacketSource, Plan, Scales, Settling, Transcoder, Viewers, as_shown};

/// Decodes.
pub(super) struct Decoding {
    pub(super) shared: Arc<Shared>,
    /// What sound is encoded to.
    pub(super) settling: Settling,
    pub(super) encoders: Arc<dyn Encoders>,
    /// Parts that were begun.
    pub(super) parts: u64,
}

impl Decoding {
    pub(super) fn run(mut self) {
        let shared = self.shared.clone();
        let _host = CodecHost::enter(shared.costs.meter());
        yield_to_others(Leave::Some);
        let mut feed = Feed::new(&shared.name, shared.inbox.clone());
        let mut fault = None;
        let finish = loop {
            shared.inbox.opening();
            let Some(mut source) = feed.look(|notice| shared.notify(&notice)) else {
                break fault.take().map_or(Finish::Ended, Finish::Failed);
            };
            match self.decode(&mut source) {
                Ok(()) => fault = None,
                Err(Stop::Gone) => break Finish::Ended,
                Err(Stop::Failed(error)) => {
                    if source.is_news(&error) {
                        shared.notify(&EventKind::SourceFault { error: error.clone() });
                    }
                    fault = Some(error);
                    source.pass_over();
                }
            }
            feed = source.into_feed();
        };
        shared.finish(finish);
    }

    /// Decodes until what is published ends, pauses or becomes something else.
    fn decode(&mut self, source: &mut TagPackets) -> Result<(), Stop> {
        let media = source.media().clone();
        let carriage = self.settling.carriage();
        // Pictures are encoded by those who want them.
        let plan = Plan { video: None, ..self.settling.plan(&media) };
        let shared = &self.shared;
        let viewers = Box::new(Audience { shared: shared.clone(), origin: None, scales: None });
        let name = Path::new(&*shared.name);
        let mut decoder =
            Transcoder::for_viewers(name, &mut *source, &plan, &self.encoders, &shared.control, viewers)?;
        shared.inbox.opened();
        self.parts += 1;
        let sound = Selection::of(decoder.media(), carriage).audio;
        let track = decoder.shown().ok_or(Error::Ended)?;
        let mut bare = media;
        bare.tracks.clear();
        shared.begin(Begun { number: self.parts, track: as_shown(track), sound, media: bare });
        let mut notices = Vec::new();
        let result = loop {
            let read = decoder.read();
            decoder.tell(&mut notices);
            notices.drain(..).for_each(|notice| shared.notify(&notice));
            match read {
                Ok(Some(packet)) => shared.sound(&packet),
                Ok(None) => break Ok(()),
                Err(error) => break Err(Stop::from(error)),
            }
        };
        shared.end();
        result
    }
}

/// Those who encode the pictures of one part.
#[derive(Debug)]
struct Audience {
    shared: Arc<Shared>,
    /// The time of the first picture.
    origin: Option<i64>,
    scales: Option<Scales>,
}

impl Viewers for Audience {
    fn see(&mut self, picture: VideoFrame) {
        let Some((begun, mut wanting)) = self.shared.wanting() else { return };
        let origin = *self.origin.get_or_insert(picture.pts().unwrap_or(0));
        wanting.sort_by_key(|(_, (width, height))| std::cmp::Reverse(u64::from(*width) * u64::from(*height)));
        let sizes: Vec<Size> = wanting.iter().map(|(_, size)| *size).collect();
        let scales = self.scales.get_or_insert_with(|| Scales::new(&begun.track));
        let scaled = scales.scale(&picture, &sizes);
        for ((rung, _), scaled) in wanting.iter().zip(scaled) {
            give(rung, scaled, origin);
        }
    }

    fn end(&mut self, all_end: Option<i64>) {
        self.shared.ends_at(all_end);
    }
}

/// Gives a picture to an encoder. One that cannot be scaled is missing there alone.
fn give(rung: &Rung, picture: Result<VideoFrame, Error>, origin: i64) {
    match picture {
        Ok(picture) => rung.queue.picture(picture, origin),
        Err(error) => rung.queue.put(Item::Unfit(error)),
    }
}
