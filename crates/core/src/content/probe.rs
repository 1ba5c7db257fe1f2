//! What an encoder of live media sees and hears, which it decodes anyway.
//!
//! In: pictures and samples, on the thread that encodes them. Out: whether they are black, frozen or silent, twice a second, for who watches the source.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::stats::ContentFault;

/// What has been found so long ago says nothing any more.
const FRESH: Duration = Duration::from_secs(5);

/// Between what encodes a source and what watches it. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probe(Arc<Mutex<Seen>>);

/// What was found last, and when.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) pictures: Option<Look>,
    /// How loud it is on average, in decibels of full scale.
    pub(super) sound: Option<(Instant, f64)>,
}

/// What the pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nobody sees any"))]
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) black: bool,
    pub(super) frozen: bool,
}

impl Probe {
    /// What was found lately.
    pub(super) fn seen(&self, now: Instant) -> Seen {
        let Seen { pictures, sound } = *self.0.lock();
        let is_fresh = |at: Instant| now.saturating_duration_since(at) < FRESH;
        Seen {
            pictures: pictures.filter(|look| is_fresh(look.at)),
            sound: sound.filter(|(at, _)| is_fresh(*at)),
        }
    }

    /// Nothing was found.
    pub(super) fn forget(&self) {
        *self.0.lock() = Seen::default();
    }
}

impl Seen {
    /// When this was looked for, and whether it was found; quieter than `silent_below` is silent.
    pub(super) fn found(&self, fault: ContentFault, silent_below: f64) -> Option<(Instant, bool)> {
        match fault {
            ContentFault::Black => self.pictures.map(|look| (look.at, look.black)),
            ContentFault::Frozen => self.pictures.map(|look| (look.at, look.frozen)),
            ContentFault::Silent => self.sound.map(|(at, level)| (at, level < silent_below)),
        }
    }
}

#[cfg(feature = "libav")]
pub(crate) use self::encoder::{Eye, Hearing};

#[cfg(feature = "libav")]
mod encoder {
    //! The encoder's side.

    use flowcast_av::VideoFrame;

    use super::{Duration, Instant, Look, Probe};
    use crate::content::look::Shades;
    use crate::error::Error;

    /// How often a picture is looked at, and over how long sound is averaged.
    const EVERY: Duration = Duration::from_millis(500);

    /// Looks at the pictures of one source.
    #[derive(Debug)]
    pub(crate) struct Eye {
        probe: Probe,
        next: Option<Instant>,
        /// The first of the pictures that are all like it.
        still: Option<Shades>,
    }

    impl Eye {
        pub(crate) const fn new(probe: Probe) -> Self {
            Self { probe, next: None, still: None }
        }

        /// A picture goes by.
        pub(crate) fn see(&mut self, picture: &VideoFrame) {
            self.see_at(Instant::now(), picture);
        }

        pub(in crate::content) fn see_at(&mut self, now: Instant, picture: &VideoFrame) {
            if self.next.is_some_and(|next| now < next) {
                return;
            }
            self.next = Some(now + EVERY);
            if let Err(error) = self.look(now, picture) {
                log::debug!("a picture that cannot be looked at: {}", crate::error::chain(&error));
            }
        }

        fn look(&mut self, at: Instant, picture: &VideoFrame) -> Result<(), Error> {
            let shades = Shades::of(picture)?;
            // Each with the first: what moves slowly moves, too.
            let frozen = self.still.as_ref().is_some_and(|still| still.is_like(&shades));
            let black = shades.is_black();
            if !frozen {
                self.still = Some(shades);
            }
            self.probe.0.lock().pictures = Some(Look { at, black, frozen });
            Ok(())
        }
    }

    /// Listens to the sound of one source.
    #[derive(Debug)]
    pub(crate) struct Hearing {
        probe: Probe,
        /// Samples that make a figure.
        enough: u64,
        power: f64,
        count: u64,
    }

    impl Hearing {
        /// For sound of this many samples a second.
        pub(crate) fn new(probe: Probe, rate: u32) -> Self {
            let enough = u64::from(rate) * u64::try_from(EVERY.as_millis()).unwrap_or(500) / 1000;
            Self { probe, enough: enough.max(1), power: 0.0, count: 0 }
        }

        /// Samples go by, a row for each channel.
        pub(crate) fn hear(&mut self, rows: &[Vec<f32>]) {
            let channels = rows.len().max(1) as f64;
            for sample in rows.iter().flatten().filter(|sample| sample.is_finite()) {
                self.power += f64::from(*sample) * f64::from(*sample) / channels;
            }
            self.count += rows.first().map_or(0, Vec::len) as u64;
            if self.count >= self.enough {
                let level = 10.0 * (self.power / self.count as f64).max(1e-12).log10();
                self.probe.0.lock().sound = Some((Instant::now(), level));
                (self.power, self.count) = (0.0, 0);
            }
        }
    }
}

#[cfg(all(test, feature = "libav"))]
mod tests {
    use flowcast_av::{ColorInfo, FramePool, VideoFormat, VideoFrame};

    use super::*;

    /// A picture of one shade with a lighter square, which is `at` that many pixels from the left.
    fn picture(shade: u8, at: Option<usize>) -> VideoFrame {
        let format = VideoFormat {
            width: 320,
            height: 180,
            pixel_format: "yuv420p".to_owned(),
            sample_aspect: None,
            color: ColorInfo::default(),
        };
        let mut canvas = FramePool::new(&format).expect("a format").get().expect("memory");
        let stride = canvas.stride(0);
        canvas.plane_mut(0).fill(shade);
        if let Some(at) = at {
            for row in canvas.plane_mut(0).chunks_mut(stride).take(60) {
                row[at..at + 60].fill(200);
            }
        }
        canvas.into_frame()
    }

    #[test]
    fn pictures_are_black_or_frozen_or_neither() {
        let (probe, began) = (Probe::default(), Instant::now());
        let mut eye = Eye::new(probe.clone());
        let mut see = |millis: u64, picture: &VideoFrame| {
            let now = began + Duration::from_millis(millis);
            eye.see_at(now, picture);
            probe.seen(now).pictures.map(|look| (look.black, look.frozen))
        };
        assert_eq!(see(0, &picture(16, None)), Some((true, false)), "one picture says nothing of motion");
        assert_eq!(see(500, &picture(16, None)), Some((true, true)));
        assert_eq!(see(1000, &picture(80, Some(0))), Some((false, false)));
        assert_eq!(see(1100, &picture(16, None)), Some((false, false)), "it is too soon");
        assert_eq!(see(1500, &picture(80, Some(0))), Some((false, true)));
        assert_eq!(see(2000, &picture(80, Some(4))), Some((false, false)), "it has moved");
        assert_eq!(see(2500, &picture(40, None)), Some((false, false)), "dark is not black");
        assert!(probe.seen(began + Duration::from_secs(10)).pictures.is_none(), "that was long ago");
    }

    #[test]
    fn sound_is_as_loud_as_it_is_on_average() {
        let probe = Probe::default();
        let mut hearing = Hearing::new(probe.clone(), 8000);
        let level = |probe: &Probe| probe.seen(Instant::now()).sound.map(|(_, level)| level);
        let sine = |level: f32| -> Vec<f32> { (0..2000).map(|at| level * (at as f32 * 0.3).sin()).collect() };
        hearing.hear(&[sine(0.1), sine(0.1)]);
        assert_eq!(level(&probe), None, "a quarter of a second is not enough");
        hearing.hear(&[sine(0.1), sine(0.1)]);
        assert!((level(&probe).expect("half a second is") + 23.0).abs() < 0.1);
        hearing.hear(&[vec![0.0; 4000], vec![f32::NAN; 4000]]);
        assert!(level(&probe).is_some_and(|level| level < -100.0));
        assert_eq!(
            probe.seen(Instant::now()).found(ContentFault::Silent, -40.0).map(|found| found.1),
            Some(true)
        );
    }
}
