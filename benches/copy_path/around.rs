//! What is around the two sides, in the parent, whose CPU time does not count: sinks, publishers and players.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use flowcast::{Config, Engine, Output, Source, StreamHandle};
use flowcast_bench::clip::Ticks;
use flowcast_bench::load::{Behaviour, Crowd};
use flowcast_bench::sink::{Options, Sink};
use flowcast_bench::{reels, tls};

use crate::case::{Case, Kind};
use crate::side::{Job, PATIENCE, Side, Which, authority, wait_until};
use crate::{Result, floors, kinds};

/// Rest between two looks at sockets: what arrives meanwhile waits in the kernel, and senders need not wake anybody.
const ROUND: Duration = Duration::from_millis(5);

/// A side on the air, with all it needs.
#[derive(Debug)]
pub(crate) struct OnAir {
    pub(crate) side: Side,
    sink: Option<Sink>,
    /// They end with it.
    _publishers: Vec<StreamHandle>,
    players: Option<Players>,
}

impl OnAir {
    /// Starts one side of a case; back once all its streams are on the air.
    pub(crate) fn start(which: Which, case: Case, work: &Path, publisher: &Publisher) -> Result<Self> {
        let is_floor = which == Which::Floor;
        let tls = if case.kind.is_tls() { Some(publisher.tls.clone()) } else { None };
        let options = Options { raw: is_floor, tls, round: ROUND, ..Options::default() };
        let sink = Sink::start(([127, 0, 0, 1], 0).into(), options)?;
        let job = Job { which, case, to: sink.address(), work: work.to_owned() };
        let mut side = Side::start(&job)?;
        let (mut publishers, mut players) = (Vec::new(), None);
        match case.kind {
            Kind::Restreamed => {
                let address = side.address()?;
                if is_floor {
                    floors::publish(case.streams, address, Ticks::load(&job.tags())?)?;
                } else {
                    publishers = publisher.publish(case.streams, address)?;
                }
            }
            Kind::Played => {
                let address = side.address()?;
                if !is_floor {
                    publishers = publisher.publish(1, address)?;
                }
                let stream = format!("live/{}", kinds::name(0));
                let crowd = Crowd::new(address, (!is_floor).then_some(stream.as_str()))?;
                players = Some(Players::join(crowd, case.streams)?);
            }
            _ => {}
        }
        side.ready()?;
        Ok(Self { side, sink: Some(sink), _publishers: publishers, players })
    }

    /// Ends it; says what went wrong on the way.
    pub(crate) fn finish(mut self) -> Result<Vec<String>> {
        let mut troubles = self.players.take().map(Players::finish).transpose()?.unwrap_or_default();
        let sink = self.sink.take();
        // The senders end first, or they would see their connections break.
        drop(self);
        if let Some(sink) = sink {
            troubles.extend(sink.finish()?.failures);
        }
        Ok(troubles)
    }
}

/// Who publishes to flowcast's sides, and what both sides' sinks show for certificates.
#[derive(Debug)]
pub(crate) struct Publisher {
    engine: Engine,
    clip: PathBuf,
    tls: Arc<rustls::ServerConfig>,
}

impl Publisher {
    pub(crate) fn new(work: &Path) -> Result<Self> {
        let mut config = Config::default();
        config.max_streams = 1000;
        reels::keep_in(&mut config, &work.join("published"));
        let (engine, clip) = (Engine::new(config)?, work.join("clip.mp4"));
        kinds::cut_reel(&engine, &clip)?;
        Ok(Self { engine, clip, tls: tls::server(&authority(work))? })
    }

    /// Publishes the clip to a server, once for each of this many keys.
    fn publish(&self, streams: usize, to: SocketAddr) -> Result<Vec<StreamHandle>> {
        let start = |number| {
            let output = Output::rtmp_url(&format!("rtmp://{to}/live/{}", kinds::key(number)));
            self.engine.stream(Source::file(&self.clip).looped()).to(output).start()
        };
        let streams = (0..streams).map(start).collect::<std::result::Result<Vec<_>, _>>()?;
        wait_until("all is published", || streams.iter().all(|stream| stream.stats().bytes_sent > 0))?;
        Ok(streams)
    }
}

/// Players on a thread of their own, which read what there is every few milliseconds.
#[derive(Debug)]
struct Players {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Vec<String>>>,
}

impl Players {
    /// Back once they are all there and the thread runs.
    fn join(mut crowd: Crowd, count: usize) -> Result<Self> {
        crowd.join(std::iter::repeat_n(Behaviour::Discard, count), PATIENCE, &mut |_, _, _| {})?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::Builder::new().spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                crowd.turn(Duration::from_millis(100), &mut |_, _, _| {})?;
                std::thread::sleep(ROUND);
            }
            Ok(crowd.players.into_iter().filter_map(|player| player.ended).collect())
        })?;
        Ok(Self { stop, thread })
    }

    /// Sends them away; says who was gone before.
    fn finish(self) -> Result<Vec<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the players' thread panicked")?
    }
}
