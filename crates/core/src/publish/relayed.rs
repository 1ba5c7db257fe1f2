//! A source that players of a server asked for: whoever put it on the air is told how it comes up, and of its end.
//!
//! In: the turns of the source. Out: the same tags, and news. It ends when all its addresses have failed before there was any media, and when
//! nothing has come for as long as players are held. On the stream's thread.

use std::any::Any;
use std::io;
use std::time::{Duration, Instant};

use flowcast_rtmp::flv::tag::Tag;
use mio::{Registry, Token};

use crate::driver::{SourceContext, SourceDriver, SourceState};
use crate::error::Error;
use crate::event::EventKind;
use crate::stats::Origin;

/// Without a picture so far, a stream is taken to be sound alone this long after its first media.
const SOUND_ALONE: Duration = Duration::from_millis(500);
/// A stream whose keyframe does not come is shown this long after its first media: players wait for it themselves.
const NO_KEYFRAME: Duration = Duration::from_secs(2);

/// What becomes of a relayed stream, in the eyes of the server whose players asked for it.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RelayNews {
    /// It gives media: players can be let in.
    Live,
    /// It ends, because there is none, or has been none for as long as players are held.
    Lost(Error),
    /// It is a relayed stream no longer: a publisher has taken its place, or it was stopped.
    Gone,
}

/// Called on the stream's thread; must not block.
pub(crate) type Tell = Box<dyn Fn(RelayNews) + Send>;

/// The source of a relayed stream.
pub(crate) struct Relayed {
    source: Box<dyn SourceDriver>,
    hold: Duration,
    tell: Tell,
    /// When the first media came, and whether a picture was among it.
    begun: Option<(Instant, bool)>,
    live: bool,
    /// When media last came.
    heard: Option<Instant>,
    /// Why there is none at the moment.
    lost: Option<Error>,
    over: bool,
}

impl Relayed {
    /// It ends once `source` has given nothing for `hold`.
    pub(crate) fn new(source: Box<dyn SourceDriver>, hold: Duration, tell: Tell) -> Self {
        Self { source, hold, tell, begun: None, live: false, heard: None, lost: None, over: false }
    }

    /// What this turn brought: whether all addresses have failed.
    fn note(&mut self, now: Instant, tags: &[Tag], notices: &[EventKind]) -> bool {
        let mut has_failed = false;
        for notice in notices {
            match notice {
                EventKind::SourceRetrying { error, wait } => {
                    self.lost = Some(error.clone());
                    has_failed = !wait.is_zero();
                }
                EventKind::SourceLive { .. } => (self.lost, has_failed) = (None, false),
                _ => {}
            }
        }
        let is_media = |tag: &Tag| !tag.is_header() && !tag.is_script();
        if tags.iter().any(is_media) {
            self.heard = Some(now);
        }
        if !self.live {
            self.begin(now, tags);
        }
        has_failed && self.heard.is_none()
    }

    /// Says that players may be let in, once they may.
    fn begin(&mut self, now: Instant, tags: &[Tag]) {
        let is_picture = |tag: &Tag| tag.is_video();
        if self.begun.is_none() && self.heard.is_some() {
            self.begun = Some((now, false));
        }
        let Some((since, has_picture)) = &mut self.begun else { return };
        *has_picture |= tags.iter().any(is_picture);
        let patience = if *has_picture { NO_KEYFRAME } else { SOUND_ALONE };
        let is_keyframe = |tag: &Tag| tag.is_keyframe() && !tag.is_header();
        if tags.iter().any(is_keyframe) || now.saturating_duration_since(*since) >= patience {
            self.live = true;
            (self.tell)(RelayNews::Live);
        }
    }

    /// Why it ends, if nothing has come for as long as players are held.
    fn is_given_up(&self, now: Instant) -> Option<Error> {
        let heard = self.heard?;
        let is_late = now.saturating_duration_since(heard) >= self.hold;
        self.lost.clone().filter(|_| is_late)
    }

    fn end(&mut self, error: Error) -> SourceState {
        self.over = true;
        (self.tell)(RelayNews::Lost(error.clone()));
        SourceState::Failed(error)
    }
}

impl SourceDriver for Relayed {
    fn attach(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source.attach(registry, token)
    }

    fn start(&mut self, now: Instant) {
        self.source.start(now);
    }

    fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
        let (tags, notices) = (cx.tags.len(), cx.notices.len());
        let state = self.source.pull(cx);
        let new = (cx.tags.get(tags..).unwrap_or_default(), cx.notices.get(notices..).unwrap_or_default());
        let has_failed = self.note(cx.arrived(), new.0, new.1);
        match state {
            SourceState::Failed(error) => self.end(error),
            SourceState::Ended => {
                self.over = true;
                (self.tell)(RelayNews::Lost(self.lost.clone().unwrap_or(Error::Ended)));
                SourceState::Ended
            }
            goes_on => {
                let failed = self.lost.clone().filter(|_| has_failed);
                match failed.or_else(|| self.is_given_up(cx.now)) {
                    Some(error) => self.end(error),
                    None => goes_on,
                }
            }
        }
    }

    fn is_due(&self) -> bool {
        self.source.is_due()
    }

    fn deliver(&mut self, message: Box<dyn Any + Send>, registry: &Registry, token: Token) {
        self.source.deliver(message, registry, token);
    }

    fn origin(&self) -> Option<Origin> {
        self.source.origin().map(|origin| Origin { relayed: true, ..origin })
    }

    fn bytes_held(&self) -> usize {
        self.source.bytes_held()
    }

    fn stop(&mut self) {
        if !std::mem::replace(&mut self.over, true) {
            (self.tell)(RelayNews::Gone);
        }
        self.source.stop();
    }

    fn is_stopped(&mut self) -> bool {
        self.source.is_stopped()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use flowcast_rtmp::flv::tag::TagKind;
    use flowcast_rtmp::time::MediaTime;
    use mio::Poll;
    use parking_lot::Mutex;

    use super::*;
    use crate::pool::Scratch;

    const HOLD: Duration = Duration::from_secs(30);
    const KEYFRAME: &[u8] = &[0x17, 1, 0, 0, 0];
    const OTHER: &[u8] = &[0x27, 1, 0, 0, 0];
    const SOUND: &[u8] = &[0x2F, 1, 0];

    /// What the source does in one turn.
    #[derive(Default)]
    struct Turn {
        tags: Vec<Tag>,
        notices: Vec<EventKind>,
    }

    /// A source that does what it is told.
    #[derive(Clone, Default)]
    struct Fake(Arc<Mutex<Turn>>);

    impl SourceDriver for Fake {
        fn pull(&mut self, cx: &mut SourceContext<'_>) -> SourceState {
            let turn = std::mem::take(&mut *self.0.lock());
            cx.tags.extend(turn.tags);
            cx.notices.extend(turn.notices);
            SourceState::Running
        }
    }

    struct Rig {
        driver: Relayed,
        source: Fake,
        told: Arc<Mutex<Vec<&'static str>>>,
        now: Instant,
        poll: Poll,
    }

    impl Rig {
        fn new() -> Self {
            let (source, told) = (Fake::default(), Arc::<Mutex<Vec<_>>>::default());
            let tell = told.clone();
            let tell = move |news: RelayNews| {
                tell.lock().push(match news {
                    RelayNews::Live => "live",
                    RelayNews::Lost(_) => "lost",
                    RelayNews::Gone => "gone",
                });
            };
            let driver = Relayed::new(Box::new(source.clone()), HOLD, Box::new(tell));
            Self { driver, source, told, now: Instant::now(), poll: Poll::new().expect("a poll") }
        }

        /// A turn this long after the one before; whether the source goes on.
        fn turn(&mut self, after: Duration, media: &[&'static [u8]], notices: Vec<EventKind>) -> bool {
            self.now += after;
            let kind = |head: &[u8]| if head == SOUND { TagKind::Audio } else { TagKind::Video };
            let tag =
                |head: &&'static [u8]| Tag::from_wire(kind(head), MediaTime::ZERO, Bytes::from_static(head));
            *self.source.0.lock() = Turn { tags: media.iter().map(tag).collect(), notices };
            let (mut scratch, mut refills) = (Scratch::default(), Vec::new());
            let (mut tags, mut notices) = (Vec::new(), Vec::new());
            let state = self.driver.pull(&mut SourceContext {
                now: self.now,
                clock: crate::driver::TurnClock::Still,
                readable: false,
                writable: false,
                tick: true,
                ticks_only: false,
                registry: self.poll.registry(),
                token: Token(1),
                scratch: &mut scratch,
                tags: &mut tags,
                refills: &mut refills,
                notices: &mut notices,
            });
            matches!(state, SourceState::Running)
        }

        fn told(&self) -> Vec<&'static str> {
            self.told.lock().clone()
        }
    }

    fn retrying(wait: Duration) -> Vec<EventKind> {
        vec![EventKind::SourceRetrying { error: Error::Ended, wait }]
    }

    const SOON: Duration = Duration::from_millis(100);

    #[test]
    fn players_are_let_in_with_the_keyframe_or_a_while_after_the_first_media() {
        let mut rig = Rig::new();
        assert!(rig.turn(SOON, &[SOUND, OTHER], Vec::new()) && rig.told().is_empty());
        rig.turn(SOON, &[SOUND, KEYFRAME], Vec::new());
        assert_eq!(rig.told(), ["live"]);
        for (media, patience) in [(OTHER, NO_KEYFRAME), (SOUND, SOUND_ALONE)] {
            let mut rig = Rig::new();
            rig.turn(SOON, &[media], Vec::new());
            rig.turn(patience - SOON, &[media], Vec::new());
            assert!(rig.told().is_empty());
            rig.turn(SOON, &[media], Vec::new());
            rig.turn(SOON, &[media, KEYFRAME], Vec::new());
            assert_eq!(rig.told(), ["live"], "once");
        }
    }

    #[test]
    fn it_ends_once_all_addresses_have_failed_unless_there_was_media() {
        let mut rig = Rig::new();
        assert!(rig.turn(SOON, &[], retrying(Duration::ZERO)), "another address is dialled");
        assert!(rig.turn(HOLD * 2, &[], Vec::new()), "the dialer has deadlines of its own");
        assert!(!rig.turn(SOON, &[], retrying(SOON)));
        assert_eq!(rig.told(), ["lost"]);
        rig.driver.stop();
        assert_eq!(rig.told(), ["lost"], "its end is told once");
        let mut rig = Rig::new();
        rig.turn(SOON, &[KEYFRAME], Vec::new());
        for _ in 0..2 {
            assert!(rig.turn(SOON, &[], retrying(SOON)));
            assert!(rig.turn(HOLD - SOON * 2, &[], Vec::new()));
            // It is back, and may be silent: whether it is gone is for the source to say.
            assert!(rig.turn(SOON / 2, &[OTHER], vec![EventKind::SourceLive { reconnects: 1, failures: 1 }]));
            assert!(rig.turn(HOLD * 2, &[], Vec::new()));
            assert!(rig.turn(SOON, &[OTHER], Vec::new()));
        }
        assert!(rig.turn(SOON, &[], retrying(SOON)) && !rig.turn(HOLD, &[], Vec::new()));
        assert_eq!(rig.told(), ["live", "lost"]);
    }

    #[test]
    fn one_that_is_stopped_is_gone() {
        let mut rig = Rig::new();
        rig.turn(SOON, &[KEYFRAME], Vec::new());
        rig.driver.stop();
        rig.driver.stop();
        assert_eq!(rig.told(), ["live", "gone"]);
    }
}
