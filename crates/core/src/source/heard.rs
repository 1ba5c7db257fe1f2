//! What a mix listens to beside its source: something live, of which only the sound is taken.
//!
//! In: the input of a mixer. Out: a thread that opens it, and gives its sound to the mix. On the thread that starts the stream.

use std::any::Any;

use super::{Media, Source};
use crate::error::Error;
use crate::mix::{Feed, Listened, Live, MixInput};
use crate::pull::Pull;

impl MixInput {
    /// The sound of what is published under `name` on this engine's server, or put there by
    /// [`Output::publish`](crate::Output::publish): decoded once, whatever becomes of its picture. The stream may start before anybody publishes; as
    /// long as nobody does, the input is silent.
    ///
    /// It is about 0.2 s late, up to 0.4 s where it comes unevenly, and never more than half a second. Its clock is followed: sound is stretched by
    /// 0.5 % at most, so that neither too much nor too little of it waits. [`MixInputLive`](crate::EventKind::MixInputLive) and
    /// [`MixInputLost`](crate::EventKind::MixInputLost) say when it comes and goes.
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod mix { pub use flowcast_core::*; } }
    /// use flowcast::Source;
    /// use flowcast::mix::{MixInput, Mixer};
    ///
    /// // The picture of one publisher, and the sound of both.
    /// let talk = Source::published("host").with_mix(Mixer::new().input("guest", MixInput::published("guest")));
    /// ```
    pub fn published(name: impl Into<String>) -> Self {
        Self::live(Source::published(name))
    }

    /// The sound of a stream of another server, or of a camera or an encoder that can be played from: the addresses of [`Pull::url`]. It is dialled
    /// when the stream starts, and again whenever it is lost; meanwhile the input is silent. How late it is, and what follows its clock, is as of
    /// [`published`](Self::published).
    ///
    /// ```
    /// # mod flowcast { pub use flowcast_core::*; pub mod mix { pub use flowcast_core::*; } }
    /// use flowcast::mix::MixInput;
    ///
    /// let microphone = MixInput::url("srt://studio.example.com:9000?latency=120000").gain_db(3.0);
    /// ```
    pub fn url(url: &str) -> Self {
        Self::pull(url)
    }

    /// As [`url`](Self::url), with the settings of a [`Pull`].
    pub fn pull(pull: impl Into<Pull>) -> Self {
        Self::live(Source::pull(pull))
    }

    fn live(source: Source) -> Self {
        Self::of(Feed::Live(Live::new(source)))
    }
}

impl Listened for Source {
    fn problems(&self) -> Vec<Error> {
        let mut found = self.problems();
        if matches!(&self.media, Media::Pull(pull) if pull.once) {
            let reason = "an input of a mix that ends is waited for".to_owned();
            found.push(Error::Config { name: "once", reason });
        }
        found
    }

    fn is(&self, other: &dyn Any) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }
}

impl Source {
    /// The names of what is published and heard in its mix.
    pub(super) fn heard_names(&self) -> impl Iterator<Item = &str> {
        self.mixer.iter().flat_map(|mixer| &mixer.inputs).filter_map(|(_, input)| {
            let Feed::Live(live) = &input.feed else { return None };
            match &live.listened().downcast_ref::<Self>()?.media {
                Media::Published { name, .. } => Some(name.as_str()),
                _ => None,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mixer;

    #[test]
    fn live_inputs_are_told_apart_and_refused_by_name() {
        assert_eq!(MixInput::published("a"), MixInput::published("a"));
        assert_ne!(MixInput::published("a"), MixInput::published("b"));
        assert_ne!(MixInput::published("a"), MixInput::url("rtmp://127.0.0.1/live/a"));
        let problems = |input| Mixer::new().input("guest", input).problems().len();
        assert_eq!(problems(MixInput::published("guest")), 0);
        // What is not RTMP is read by libav.
        let unread = usize::from(!cfg!(feature = "libav"));
        assert_eq!(problems(MixInput::url("srt://127.0.0.1:9000")), unread);
        assert_eq!(problems(MixInput::published("no name")), 1);
        assert_eq!(problems(MixInput::url("ftp://127.0.0.1/a")), 1);
        let mut once = Pull::url("rtmp://127.0.0.1/live/a");
        once.once = true;
        assert_eq!(problems(MixInput::pull(once)), 1);
        let source =
            Source::published("show").with_mix(Mixer::new().input("guest", MixInput::published("guest")));
        assert_eq!(source.heard_names().collect::<Vec<_>>(), ["guest"]);
    }
}
