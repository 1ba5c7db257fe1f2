//! Opens what is published and encoded: with the streams that asked for the same, if there are any, else so that others can join.

use std::sync::Arc;

use super::open::Opening;
use super::{Media, Source};
use crate::driver::SourceDriver;
use crate::error::Error;
use crate::publish::encoder::LiveEncoder;
use crate::publish::joint::{Joining, Joint, JointOptions};
use crate::publish::published::{Published, Reader};
use crate::standby::Watchdog;
use crate::stream::Data;
use crate::transcode::Wish;

/// One that is over when a stream comes is replaced by another one, which is over at once only if the source is.
const TRIES: usize = 3;

/// What is encoded, and how: without what a stream does about it by itself.
struct Encoded(Source);

impl Encoded {
    fn of(source: &Source) -> Self {
        let wish = Wish { encoding: source.encoding_on_air(), ..source.wish.clone() };
        Self(Source { wish, fallback: None, watchdog: Watchdog::default(), ..source.clone() })
    }
}

impl Source {
    /// Whether all streams that ask for this get the same encoding of it: nothing of it depends on the stream.
    fn is_for_all(&self) -> bool {
        let is_encoded = matches!(self.media, Media::Published { .. }) && !self.wish.is_copy();
        is_encoded && self.mixer.is_none() && !self.watches_content() && !self.wish.encoding.changes()
    }
}

impl Opening<'_> {
    /// The driver of something published that is encoded for all who ask for it; `None` if this is not.
    pub(super) fn joint(
        &self,
        source: &Source,
        (name, once): (&str, bool),
    ) -> Result<Option<Box<dyn SourceDriver>>, Error> {
        if !source.is_for_all() {
            return Ok(None);
        }
        source.wish.check()?;
        let encoded = Arc::new(Encoded::of(source));
        let is_it = |key: &Data, _: Option<&Arc<Joint>>| {
            key.downcast_ref::<Encoded>().is_some_and(|other| other.0 == encoded.0)
        };
        let key: Data = encoded.clone();
        for _ in 0..TRIES {
            let make = || self.start_joint(&encoded.0, name, once).map(Arc::new);
            let joint = self.0.together().find_or_make(is_it, &key, |joint| !joint.is_over(), make)?;
            let joining = Joining {
                dial: self.0.dial().clone(),
                cpu: self.0.cpu(),
                reader: self.0.waker().clone(),
                bounds: self.0.config().read_ahead,
                reading: self.0.hub().read(name, self.0.stream()),
            };
            if let Some(driver) = joint.join(joining) {
                return Ok(Some(Box::new(driver)));
            }
        }
        Err(Error::Ended)
    }

    fn start_joint(&self, source: &Source, name: &str, once: bool) -> Result<Joint, Error> {
        let options = JointOptions { name: name.to_owned(), tick: self.0.config().tick };
        Joint::start(options, |with| {
            let mut live = self.live_options(source, name, source.wish.clone())?;
            (live.reader, live.cpu) = (with.mailbox.clone(), with.cost.clone());
            live.settling = live.settling.steered(with.dial.clone());
            let encoder = LiveEncoder::start(live)?;
            let bounds = self.0.config().read_ahead;
            let reader = Reader { id: self.0.stream(), mailbox: with.mailbox.clone(), bounds };
            let hub = self.0.hub().clone();
            let driver = Published::new(hub, name.to_owned(), once, reader, Some(encoder));
            Ok(Box::new(driver.for_several()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::UnderLoad;
    use crate::transcode::{Encoding, Mode, Profile};

    /// A stream keeps to its floor, whoever else shows the same.
    #[test]
    fn who_gives_way_otherwise_has_an_encoder_of_its_own() {
        let source = |priority| {
            let encoding = Encoding::new(Profile::Ultra).with(|encoding| {
                encoding.under_load = UnderLoad::default().with(|load| load.priority = priority);
            });
            Source::published("studio").mode(Mode::Encode).encoding(encoding)
        };
        assert!(Encoded::of(&source(1)).0 == Encoded::of(&source(1).fallback("slate.mp4")).0);
        assert!(Encoded::of(&source(1)).0 != Encoded::of(&source(2)).0);
    }
}
