//! The connection to Redis that everything of a node shares.
//!
//! In: calls of the program, and tasks that come round. Out: answers. One thread, `fc-redis`, owns the connection: it is the only one that waits for the
//! server. Callers wait for it, each until its own deadline.

mod security;
mod sentinels;
mod server;
mod state;
mod trouble;
mod worker;

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, SendTimeoutError, Sender, bounded};

use self::server::Server;
use self::state::Board;
pub use self::state::{RedisState, RedisStats};
pub(crate) use self::worker::{Does, Worker};
use crate::error::Error;
use crate::options::RedisOptions;

/// Calls that wait.
const QUEUE: usize = 1024;
/// In bytes.
const STACK: usize = 1 << 20;
/// What the thread may take to say that the time is up.
const GRACE: Duration = Duration::from_millis(100);

/// A connection to Redis or Valkey, kept up by a thread of its own. Clones share it; the thread ends with the last of them and of what uses them.
///
/// The server may be away, at the start as well: [`stats`](Self::stats) says how it stands, and calls fail with what is in the way. Nothing that is on the air
/// waits for the server.
///
/// | the server | what happens |
/// |---|---|
/// | is away, at the start or later | calls fail with [`Error::Away`] at once; it is tried again and again, with growing pauses |
/// | does not answer in time | the call fails with [`Error::NoAnswer`], what it asked may have been done; another connection is made |
/// | answers slowly | calls take their turn; those whose time is up before are not done, [`Error::Away`] |
/// | reads its data from the disk | [`Error::Loading`] |
/// | is a replica, or cannot save | what reads is answered, what changes fails with [`Error::ReadOnly`]; the name is looked up anew |
/// | is full | what needs no memory works (reading, revoking, renewing), the rest fails with [`Error::Full`] |
/// | refuses user or password | [`Error::Denied`]; it is tried again all the same, for it may be mended there |
///
/// ```no_run
/// use std::time::Duration;
/// use flowcast_redis::{Redis, RedisOptions};
///
/// let redis = Redis::new("rediss://flowcast:password@redis.example.com:6379/0", RedisOptions::default())?;
/// if !redis.wait_until_up(Duration::from_secs(5)) {
///     eprintln!("{redis:?} is {}", redis.stats().state);
/// }
/// # Ok::<(), flowcast_redis::Error>(())
/// ```
#[derive(Clone)]
pub struct Redis {
    shown: Arc<str>,
    options: Arc<RedisOptions>,
    board: Arc<Board>,
    messages: Sender<Message>,
}

/// What the thread is told.
enum Message {
    Call(Box<dyn FnOnce(&mut Worker) + Send>),
    Task(Box<dyn Task>),
}

/// What comes round, on the link's thread.
pub(crate) trait Task: Send {
    /// Does it; when it is due again, or `None` if never.
    fn run(&mut self, worker: &mut Worker) -> Option<Instant>;
}

impl Redis {
    /// Begins to connect to `url`: `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, or `rediss://…` for TLS. The user needs what `docs/jobs/cluster.md` lists
    /// (`~fc:*`, `+@read +@write +@scripting +@connection +@transaction +time`). Redis Cluster is not spoken to.
    ///
    /// With Sentinel, `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]...]/NAME[/DATABASE]`, or `rediss+sentinel://…` where both they and the servers
    /// have TLS: the sentinels are asked at each attempt which server takes changes under this name. User and password are those of the servers; sentinels with
    /// a password have it in [`RedisOptions::sentinel_password`]. Their port is 26379 if none is said.
    ///
    /// For TLS, rustls asks the process for its cryptography: where the program has installed none, ring becomes that of the process.
    ///
    /// # Errors
    ///
    /// [`Error::Config`] for a URL or a setting that cannot work, [`Error::System`] if there is no thread. Not if the server is away.
    pub fn new(url: &str, options: RedisOptions) -> Result<Self, Error> {
        options.check()?;
        let server = Server::new(url, &options)?;
        let board = Arc::new(Board::new());
        let shown = server.shown.clone();
        let (messages, inbox) = bounded(QUEUE);
        let mut worker = Worker::new(server, options.clone(), board.clone());
        let started = flowcast_core::spawn("fc-redis", STACK, move || serve(&mut worker, &inbox));
        let no_thread = |source| Error::System { what: "no thread for Redis", source: Arc::new(source) };
        drop(started.map_err(no_thread)?);
        Ok(Self { shown, options: Arc::new(options), board, messages })
    }

    /// Figures of the connection.
    #[must_use]
    pub fn stats(&self) -> RedisStats {
        self.board.stats()
    }

    /// Waits until the server answers; `false` if it does not in time.
    ///
    /// # Blocking
    ///
    /// Up to `deadline`.
    #[must_use = "says whether it does"]
    pub fn wait_until_up(&self, deadline: Duration) -> bool {
        let until = Instant::now().checked_add(deadline);
        let until = until.unwrap_or_else(|| Instant::now() + Duration::from_secs(365 * 86_400));
        self.board.wait(RedisState::Up, until)
    }

    pub(crate) fn options(&self) -> &RedisOptions {
        &self.options
    }

    /// What begins all keys of the cluster.
    pub(crate) fn prefix(&self) -> String {
        worker::prefix(&self.options)
    }

    /// Has the thread do something, and waits for it: up to [`RedisOptions::call`]. `work` gets the time until which it may ask.
    pub(crate) fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Worker, Instant) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let begun = Instant::now();
        let until = begun + self.options.call;
        let (reply, answer) = bounded(1);
        let call = Message::Call(Box::new(move |worker| {
            // Whoever has given up is not to be surprised later.
            if Instant::now() < until {
                let _ = reply.send(work(worker, until));
            }
        }));
        let away = |reason: &str| Error::Away { server: self.shown.clone(), reason: reason.to_owned() };
        self.messages.send_deadline(call, until).map_err(|error| match error {
            SendTimeoutError::Timeout(_) => away("too many calls wait for it"),
            SendTimeoutError::Disconnected(_) => away("its thread has ended"),
        })?;
        // What was begun ends by then, too.
        match answer.recv_deadline(until + GRACE) {
            Ok(outcome) => outcome,
            Err(RecvTimeoutError::Disconnected) => Err(away("others waited longer")),
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::NoAnswer { server: self.shown.clone(), after: begun.elapsed() })
            }
        }
    }

    /// Has a task come round, from now on.
    pub(crate) fn every(&self, task: impl Task + 'static) -> Result<(), Error> {
        let away = |reason: &str| Error::Away { server: self.shown.clone(), reason: reason.to_owned() };
        let until = Instant::now() + self.options.call;
        self.messages
            .send_deadline(Message::Task(Box::new(task)), until)
            .map_err(|_| away("too many calls wait for it"))
    }
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Redis").field(&self.shown).finish()
    }
}

/// The life of the thread.
fn serve(worker: &mut Worker, inbox: &Receiver<Message>) {
    let mut tasks: Vec<(Instant, Box<dyn Task>)> = Vec::new();
    loop {
        worker.keep_up();
        tasks = tasks.into_iter().filter_map(|(due, task)| come_round(worker, due, task)).collect();
        let next = tasks.iter().map(|(due, _)| *due).fold(worker.due(), Instant::min);
        match inbox.recv_deadline(next) {
            Ok(Message::Call(call)) => call(worker),
            Ok(Message::Task(task)) => tasks.push((Instant::now(), task)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn come_round(
    worker: &mut Worker,
    due: Instant,
    mut task: Box<dyn Task>,
) -> Option<(Instant, Box<dyn Task>)> {
    if Instant::now() < due {
        return Some((due, task));
    }
    task.run(worker).map(|due| (due, task))
}
