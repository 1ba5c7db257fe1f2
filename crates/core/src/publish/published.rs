//! A published stream as the source of another: restreamed, recorded, given another name.
//!
//! In: the tags of the publishers of the name, through a tap on each publication that begins. Out: the same tags, on
//! one clock that goes on from publication to publication. In between the source rests, and pushes with it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use flowcast_rtmp::flv::tag::Tag;
use parking_lot::Mutex;

use crate::clock::timeline::Timeline;
use crate::config::QueueBounds;
use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::event::EventKind;
use crate::id::StreamId;
use crate::publish::encoder::LiveEncoder;
use crate::ring::Join;
use crate::stream::{Hub, Mailbox, Reading, StreamRef, TapPace, TapSource, Watch, tap};

/// What a source needs to know of its stream.
#[derive(Debug, Clone)]
pub(crate) struct Reader {
    pub(crate) id: StreamId,
    pub(crate) mailbox: Mailbox,
    pub(crate) bounds: QueueBounds,
}

/// Taps on publications that have begun, oldest first.
type Inbox = Arc<Mutex<VecDeque<TapSource>>>;

/// The source of a stream that is made from a published one.
pub(crate) struct Published {
    hub: Hub,
    name: String,
    once: bool,
    reader: Reader,
    inbox: Inbox,
    /// Held so that the stream is not put where it comes from.
    _reading: Option<Reading>,
    /// `None` until media time begins.
    watch: Option<Watch>,
    current: Option<TapSource>,
    timeline: Timeline,
    resting: bool,
    /// The one publication that was to be played is over.
    ended: bool,
    /// What is published is encoded.
    encoder: Option<LiveEncoder>,
    /// Each publication is decoded by itself.
    is_decoded: bool,
    /// Tags it left out, as far as they were told of.
    told_drops: u64,
}

impl Published {
    /// Waits for `name` to be published; complete after the first publication if `once`. What is published is encoded by `encoder`, if
    /// there is one.
    pub(crate) fn new(
        hub: Hub,
        name: String,
        once: bool,
        reader: Reader,
        encoder: Option<LiveEncoder>,
    ) -> Self {
        let resting = hub.find(&name).is_none();
        let reading = hub.read(&name, reader.id);
        Self {
            hub,
            name,
            once,
            reader,
            _reading: Some(reading),
            inbox: Inbox::default(),
            watch: None,
            current: None,
            timeline: Timeline::default(),
            resting,
            ended: false,
            is_decoded: encoder.is_some(),
            encoder,
            told_drops: 0,
        }
    }

    /// Is for several streams, each of which holds by itself that it is not put where it comes from.
    #[cfg(feature = "libav")]
    pub(crate) fn for_several(self) -> Self {
        Self { _reading: None, ..self }
    }

    /// Hands over each publication with its own headers, and no two of them at once: they are decoded elsewhere.
    #[cfg(feature = "libav")]
    pub(crate) fn decoded_elsewhere(self) -> Self {
        Self { is_decoded: true, ..self }
    }

    /// Gives the tags from number `from` on to the encoder, if there is one.
    fn encode(&self, now: Instant, tags: &mut Vec<Tag>, from: usize) {
        if let Some(encoder) = self.encoder.as_ref().filter(|_| tags.len() > from) {
            encoder.push(now, tags.drain(from..));
        }
    }

    /// The publication has ended.
    fn end(&mut self, cx: &mut SourceContext<'_>) {
        if let Some(encoder) = &self.encoder {
            encoder.end(cx.now);
            if encoder.drops() > self.told_drops {
                let drops = encoder.drops() - self.told_drops;
                log::warn!("{}: {drops} tags of {} were not encoded in time", self.reader.id, self.name);
                self.told_drops = encoder.drops();
            }
        }
        if let Some(tap) = self.current.take()
            && tap.drops() > 0
        {
            log::warn!("{}: {} tags of {} were left out", self.reader.id, tap.drops(), self.name);
        }
        cx.notices.push(EventKind::PublicationEnded { name: self.name.clone() });
    }
}

/// Puts a tap on a publication, before its first tag if it is just beginning.
fn tap_into(publication: &StreamRef, found_under: &Arc<str>, reader: &Reader, inbox: &Inbox) {
    let (driver, source) = tap(reader.bounds, Join::Next, TapPace::Immediate, reader.mailbox.clone());
    inbox.lock().push_back(source);
    // If it has ended meanwhile the driver is dropped, and with it the tap is complete.
    publication.add_reader(reader.id.to_string(), Box::new(driver), found_under.clone());
    reader.mailbox.wake();
}

impl SourceDriver for Published {
    fn start(&mut self, _now: Instant) {
        let (reader, inbox) = (self.reader.clone(), self.inbox.clone());
        let name: Arc<str> = self.name.as_str().into();
        let watcher = move |publication: &StreamRef| tap_into(publication, &name, &reader, &inbox);
        self.watch = Some(self.hub.watch(&self.name, Arc::new(watcher)));
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let state = self.pull_tags(cx);
        if let Some(encoder) = &self.encoder {
            if matches!(state, SourceState::Ended) {
                encoder.finish();
            }
            // What was published last comes out after the publication has ended.
            return encoder.pull(cx);
        }
        state
    }

    fn is_due(&self) -> bool {
        if self.encoder.as_ref().is_some_and(LiveEncoder::is_due) {
            return true;
        }
        self.current.as_ref().is_some_and(TapSource::is_due) || !self.inbox.lock().is_empty()
    }

    fn is_resting(&self) -> bool {
        if let Some(encoder) = &self.encoder {
            // It rests during a publication that cannot be encoded as it does between publications.
            if encoder.has_given_up() || !encoder.is_idle() {
                return encoder.has_given_up();
            }
        }
        self.resting
    }

    fn encoding(&self) -> Option<crate::stats::EncodingStats> {
        self.encoder.as_ref().and_then(LiveEncoder::encoding)
    }

    fn bytes_held(&self) -> usize {
        let held = self.current.as_ref().map_or(0, TapSource::bytes_held);
        held + self.encoder.as_ref().map_or(0, LiveEncoder::bytes_held)
    }

    fn stop(&mut self) {
        self.watch = None;
        self.current = None;
        let waiting = std::mem::take(&mut *self.inbox.lock());
        drop(waiting);
        if let Some(encoder) = &mut self.encoder {
            encoder.stop();
        }
    }

    fn is_stopped(&mut self) -> bool {
        if let Some(encoder) = &mut self.encoder {
            return encoder.is_stopped();
        }
        true
    }
}

impl Published {
    /// Takes what was published.
    fn pull_tags(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        if self.ended {
            return SourceState::Ended;
        }
        loop {
            if self.current.is_none() {
                self.current = self.inbox.lock().pop_front();
                if self.current.is_some() {
                    self.timeline.change();
                    if self.is_decoded {
                        self.timeline.forget_headers();
                    }
                    cx.notices.push(EventKind::PublicationBegan { name: self.name.clone() });
                }
            }
            let Some(tap) = &mut self.current else {
                // Before media time begins, what is published already is still to be found.
                self.resting |= self.watch.is_some();
                return SourceState::Running;
            };
            self.resting = false;
            let from = cx.tags.len();
            let state = tap.pull(cx);
            self.timeline.place_all(cx.now, cx.tags, from, cx.notices);
            self.encode(cx.now, cx.tags, from);
            if !matches!(state, SourceState::Ended) {
                return SourceState::Running;
            }
            self.end(cx);
            if self.once {
                self.ended = true;
                return SourceState::Ended;
            }
            if self.is_decoded && self.encoder.is_none() {
                return SourceState::More;
            }
        }
    }
}
