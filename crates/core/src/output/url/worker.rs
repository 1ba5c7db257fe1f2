//! The thread of one connection: it looks the host up, connects, and sends, because libav blocks in all of that.
//!
//! In: batches of tags, through a bounded queue. Out: media on the network; reports to the driver, which they wake. A thread that is not wanted any
//! more is interrupted and left to itself: nobody waits for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use super::address::{Address, Mode, Protocol};
use super::sink::{Sink, Watch};
use crate::config::Config;
use crate::error::{ConnectStep, Error};
use crate::net::dialer::Place;
use crate::net::resolver::Resolver;
use crate::output::queue::{Batches, Handed};
use crate::stream::OutputMailbox;
use crate::sys::{CpuLap, CpuMeter};

/// One for all outputs, so that a name server that is dead costs a bounded number of threads.
pub(super) static RESOLVER: LazyLock<Resolver> = LazyLock::new(Resolver::default);

/// How far a worker is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Bytes sent.
    pub(super) bytes: AtomicU64,
    /// Tags that are with the kernel or libsrt.
    pub(super) tags: AtomicU64,
    /// When the first media was sent.
    pub(super) first: OnceLock<Instant>,
}

/// What a worker reports.
pub(super) struct Report {
    pub(super) attempt: u64,
    pub(super) what: What,
}

pub(super) enum What {
    /// It is its turn to be dialled, or it cannot be.
    Turn(Result<Place, Error>),
    /// It is connected.
    Opened,
    /// It ends: its queue was closed and all is sent, or it failed.
    Ended(Result<(), Error>),
}

/// What a worker is given.
pub(super) struct Job {
    pub(super) attempt: u64,
    pub(super) address: Arc<Address>,
    /// Its place among the dials that are under way, until it is connected; none for who waits to be called.
    pub(super) place: Option<Place>,
    pub(super) config: Arc<Config>,
    pub(super) interrupt: flowcast_av::Interrupt,
    pub(super) batches: Batches,
    pub(super) progress: Arc<Progress>,
    pub(super) mailbox: OutputMailbox,
    pub(super) cpu: CpuMeter,
}

impl Job {
    /// Works until the queue is closed, or the connection fails.
    pub(super) fn run(mut self) {
        let mut lap = CpuLap::default();
        let result = self.work(&mut lap);
        self.place = None;
        self.cpu.lap(&mut lap);
        self.report(What::Ended(result));
    }

    fn report(&self, what: What) {
        self.mailbox.send(Box::new(Report { attempt: self.attempt, what }));
    }

    fn work(&mut self, lap: &mut CpuLap) -> Result<(), Error> {
        let connect = &self.config.connect;
        let watch = Watch {
            interrupt: self.interrupt.clone(),
            stall_after: self.config.lag.stall_after,
            // SRT asks once; the others connect and are answered.
            open_within: match self.address.protocol {
                Protocol::Srt | Protocol::Udp => connect.tcp,
                Protocol::Icecast | Protocol::Rtsp => connect.tcp + connect.reply,
            },
        };
        let peer = self.look_up(connect.dns)?;
        let mut sink = Sink::new(self.address.clone(), peer);
        let mut is_open = sink.open_first(&watch)?;
        if is_open {
            self.place = None;
            self.report(What::Opened);
        }
        while let Some(Handed { tags, .. }) = self.batches.next() {
            let result = if watch.interrupt.is_cancelled() {
                Err(Error::Cancelled { what: "sending" })
            } else {
                sink.write(&tags, &watch, &|| self.batches.waiting())
            };
            self.batches.done(&tags);
            if result.is_ok() && sink.bytes > 0 {
                self.progress.first.get_or_init(Instant::now);
            }
            self.progress.bytes.store(sink.bytes, Ordering::Relaxed);
            if sink.is_open() && !is_open {
                is_open = true;
                self.place = None;
                self.report(What::Opened);
            }
            result?;
            self.progress.tags.fetch_add(tags.len() as u64, Ordering::Relaxed);
            if self.batches.is_empty() {
                self.cpu.lap(lap);
            }
        }
        let bytes = sink.finish(&watch)?;
        self.progress.bytes.store(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Where the host is; another one of its addresses with each attempt.
    fn look_up(&self, within: Duration) -> Result<Option<SocketAddr>, Error> {
        let host = self.address.host.clone();
        if host.is_empty() || self.address.mode() == Mode::Listener {
            return Ok(None);
        }
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let reply = move |answer| {
            let _ = sender.send(answer);
        };
        RESOLVER.resolve(&host, self.address.port, Box::new(reply));
        let answer = receiver.recv_timeout(within).map_err(|_| Error::ConnectTimeout {
            host: host.clone(),
            step: ConnectStep::Dns,
            after: within,
        })?;
        match &*answer {
            Ok(addresses) => {
                let turn = usize::try_from(self.attempt.saturating_sub(1)).unwrap_or(0);
                Ok(addresses.get(turn % addresses.len().max(1)).copied())
            }
            Err(error) => {
                let source = std::io::Error::new(error.kind(), error.to_string());
                Err(Error::Dns { host, source: source.into() })
            }
        }
    }
}
