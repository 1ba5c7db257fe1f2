//! The threads that make thumbnails, for all streams of an engine.
//!
//! In: orders, each with a keyframe. Out: JPEGs, to who ordered. There are few threads, they let others go first, and they end when nothing
//! has been ordered for a while. What waits is bounded by who orders: a stream has one order under way.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;

use super::{Thumbnail, ThumbnailOptions};
use crate::error::Error;
use crate::ring::Keyframe;
use crate::sys::CpuMeter;

/// A thread that has had nothing to do for this long ends, and gives back what its decoder holds.
const IDLE: Duration = Duration::from_secs(10);
/// Decoders of large pictures, and zimg, need room.
const STACK: usize = 1 << 20;

/// A thumbnail that is to be made.
pub(crate) struct Order {
    pub(crate) keyframe: Keyframe,
    pub(crate) options: ThumbnailOptions,
    /// Whose CPU time it is.
    pub(crate) cpu: CpuMeter,
    /// Who ordered is told on the thread that made it, and has to return at once.
    pub(crate) done: Box<dyn FnOnce(Result<Thumbnail, Error>) + Send>,
}

/// What the threads are given to do.
#[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav nothing is decoded"))]
enum Work {
    Thumbnail(Order),
    /// Something else that takes a moment, and whose CPU time it is. It does not panic.
    Other(CpuMeter, Box<dyn FnOnce() + Send>),
}

/// Where thumbnails are ordered. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Studio(Arc<Inner>);

struct Inner {
    /// Threads at once.
    most: usize,
    orders: Sender<Work>,
    waiting: Receiver<Work>,
    threads: Mutex<usize>,
    #[cfg(feature = "libav")]
    album: Mutex<super::album::Album>,
}

impl std::fmt::Debug for Studio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Studio").field("threads", &*self.0.threads.lock()).finish_non_exhaustive()
    }
}

impl Studio {
    /// With this many threads at once.
    pub(crate) fn new(most: usize) -> Self {
        let (orders, waiting) = crossbeam_channel::unbounded();
        Self(Arc::new(Inner {
            most,
            orders,
            waiting,
            threads: Mutex::new(0),
            #[cfg(feature = "libav")]
            album: Mutex::default(),
        }))
    }

    /// Takes an order; it is done whatever happens, or there is no thread, and then it is done with that error.
    ///
    /// # Errors
    ///
    /// [`Error::NotBuilt`] without libav.
    #[cfg(not(feature = "libav"))]
    pub(crate) fn order(&self, order: Order) -> Result<(), Error> {
        let Order { keyframe, options, cpu, done } = order;
        drop((keyframe, options, cpu, done));
        let _ = Work::Thumbnail;
        let Inner { most, orders, waiting, threads } = &*self.0;
        let _ = (most, orders, waiting, threads, IDLE, STACK);
        Err(Error::NotBuilt { feature: "libav" })
    }

    /// Takes an order.
    ///
    /// # Errors
    ///
    /// [`Error::System`] if there is no thread to do it.
    #[cfg(feature = "libav")]
    pub(crate) fn order(&self, order: Order) -> Result<(), Error> {
        self.give(Work::Thumbnail(order))
    }

    /// Does something else that takes a moment, which must not panic.
    ///
    /// # Errors
    ///
    /// As for [`order`](Self::order).
    #[cfg(feature = "libav")]
    pub(crate) fn lend(&self, cpu: &CpuMeter, work: Box<dyn FnOnce() + Send>) -> Result<(), Error> {
        self.give(Work::Other(cpu.clone(), work))
    }

    /// As [`order`](Self::order).
    ///
    /// # Errors
    ///
    /// [`Error::NotBuilt`] without libav.
    #[cfg(not(feature = "libav"))]
    pub(crate) fn lend(&self, cpu: &CpuMeter, work: Box<dyn FnOnce() + Send>) -> Result<(), Error> {
        let _ = Work::Other(cpu.clone(), work);
        Err(Error::NotBuilt { feature: "libav" })
    }

    #[cfg(feature = "libav")]
    fn give(&self, work: Work) -> Result<(), Error> {
        let mut threads = self.0.threads.lock();
        if *threads < self.0.most && (*threads == 0 || !self.0.waiting.is_empty()) {
            let studio = self.clone();
            let spawned = crate::sys::spawn("fc-thumb", STACK, move || studio.work());
            match spawned {
                Ok(_) => *threads += 1,
                Err(source) if *threads == 0 => {
                    let what = "no thread for a thumbnail";
                    return Err(Error::System { what, source: source.into() });
                }
                Err(_) => {}
            }
        }
        // Under the lock, so that no thread ends between being counted on and being given it. The other end is ours, too.
        let _ = self.0.orders.send(work);
        Ok(())
    }

    #[cfg(feature = "libav")]
    fn work(&self) {
        use crate::sys::{CpuLap, Leave, yield_to_others};

        yield_to_others(Leave::Most);
        let mut maker = flowcast_av::JpegMaker::default();
        let (mut lap, unused) = (CpuLap::default(), CpuMeter::default());
        loop {
            let Ok(work) = self.0.waiting.recv_timeout(IDLE) else {
                let mut threads = self.0.threads.lock();
                if self.0.waiting.is_empty() {
                    *threads -= 1;
                    return;
                }
                continue;
            };
            unused.lap(&mut lap);
            let Order { keyframe, options, cpu, done } = match work {
                Work::Thumbnail(order) => order,
                Work::Other(cpu, work) => {
                    work();
                    cpu.lap(&mut lap);
                    continue;
                }
            };
            let make = std::panic::AssertUnwindSafe(|| self.make(&mut maker, &keyframe, &options));
            let made = std::panic::catch_unwind(make)
                .unwrap_or_else(|panic| Err(Error::Panicked { message: crate::sys::panic_message(&*panic) }));
            if made.is_err() {
                // Whatever state it is in.
                maker = flowcast_av::JpegMaker::default();
            }
            cpu.lap(&mut lap);
            done(made);
        }
    }

    #[cfg(feature = "libav")]
    fn make(
        &self,
        maker: &mut flowcast_av::JpegMaker,
        keyframe: &Keyframe,
        options: &ThumbnailOptions,
    ) -> Result<Thumbnail, Error> {
        let (track, packet) = super::picture::of(keyframe)?;
        let key = super::album::key(&track, &packet, options);
        let kept = self.0.album.lock().find(&key);
        let jpeg = match kept {
            Some(jpeg) => jpeg,
            None => {
                let mut how = flowcast_av::JpegOptions::default();
                (how.max_width, how.max_height) = (options.max_width, options.max_height);
                how.quality = options.quality;
                let jpeg = maker.jpeg(&track, &packet, &how)?;
                self.0.album.lock().keep(key, &jpeg);
                jpeg
            }
        };
        let millis = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        Ok(Thumbnail {
            jpeg: jpeg.data,
            width: jpeg.width,
            height: jpeg.height,
            time: millis(keyframe.tag.timestamp.as_millis()),
            behind: millis(keyframe.behind),
            made: std::time::Instant::now(),
        })
    }
}
