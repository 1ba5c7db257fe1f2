//! How the program reaches what mixes the sound of a stream, while one source replaces another.
//!
//! In: the mixers of the sources that are opened, and which source is on the air. Out: the mixer of that one. May be called on any thread.

use parking_lot::Mutex;

use crate::mix::MixerRef;

/// The mixers of a stream's sources.
#[derive(Debug, Default)]
pub(super) struct Mixers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The number of the source that is on the air, or is to be first.
    on_air: u64,
    /// By the numbers of their sources; at most one of each.
    known: Vec<(u64, MixerRef)>,
}

impl Mixers {
    /// Source number `seat` is mixed by it, now or once it is on the air. A source that is opened again goes on with what the program has changed.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is mixed"))]
    pub(super) fn come(&self, seat: u64, mixer: MixerRef) {
        let mut state = self.0.lock();
        if let Some((_, before)) = state.known.iter().find(|(other, _)| *other == seat) {
            mixer.go_on(before);
        }
        state.known.retain(|(other, _)| *other != seat);
        state.known.push((seat, mixer));
    }

    /// Source number `seat` is on the air now, or will never be.
    pub(super) fn settle(&self, seat: u64, is_on_air: bool) {
        let mut state = self.0.lock();
        if is_on_air {
            state.on_air = seat;
            // What was on the air before does not come back.
            state.known.retain(|(other, _)| *other >= seat);
        } else {
            state.known.retain(|(other, _)| *other != seat);
        }
    }

    /// That of the source on the air, if it is mixed and has not ended.
    pub(super) fn on_air(&self) -> Option<MixerRef> {
        let state = self.0.lock();
        let mixer =
            state.known.iter().find(|(seat, _)| *seat == state.on_air).map(|(_, mixer)| mixer.clone());
        mixer.filter(|mixer| !mixer.has_ended())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::Mixer;

    fn named(name: &str) -> MixerRef {
        MixerRef::unused(&Mixer::new().input(name, crate::mix::MixInput::source()))
    }

    fn on_air(mixers: &Mixers) -> Option<String> {
        mixers.on_air().map(|mixer| mixer.inputs().remove(0))
    }

    #[test]
    fn a_mixer_is_reached_once_its_source_is_on_the_air() {
        let mixers = Mixers::default();
        assert_eq!(on_air(&mixers), None);
        mixers.come(0, named("first"));
        assert_eq!(on_air(&mixers).as_deref(), Some("first"));
        mixers.come(1, named("second"));
        assert_eq!(on_air(&mixers).as_deref(), Some("first"), "that one is only opened");
        mixers.settle(1, false);
        assert_eq!(on_air(&mixers).as_deref(), Some("first"), "it did not come up");
        mixers.come(2, named("third"));
        mixers.settle(2, true);
        assert_eq!(on_air(&mixers).as_deref(), Some("third"));
        // Source number 3 is not mixed.
        mixers.settle(3, true);
        assert_eq!(on_air(&mixers), None);
        mixers.come(3, named("again"));
        assert_eq!(on_air(&mixers).as_deref(), Some("again"), "a source that is opened again");
    }

    #[test]
    fn a_source_that_is_opened_again_is_as_loud_as_the_program_has_made_it() {
        let mixers = Mixers::default();
        mixers.come(0, named("voice"));
        let of = |mixers: &Mixers| {
            let stats = mixers.on_air().expect("it is mixed").stats().inputs.remove(0);
            (stats.gain_db, stats.pan, stats.muted)
        };
        let mixer = mixers.on_air().expect("it is mixed");
        mixer.set_gain_db("voice", -20.0).expect("such an input");
        mixer.set_pan("voice", 0.5).expect("such an input");
        mixer.mute("voice").expect("such an input");
        // Twice: what was changed is not forgotten when nobody changes it any more.
        for _ in 0..2 {
            mixers.come(0, named("voice"));
            assert_eq!(of(&mixers), (-20.0, 0.5, true));
        }
        mixers.come(1, named("voice"));
        mixers.settle(1, true);
        assert_eq!(of(&mixers), (0.0, 0.0, false), "another source has its own");
    }
}
