//! Whose threads libav has started, and what CPU time they used.
//!
//! In: threads that open codecs ([`CodecHost`]). Out: the CPU time of the threads they started, added to their stream's meter. On the
//! thread that looks, the monitor's.
//!
//! Linux gives a new thread the name of the thread that made it, and our own threads have names of their own. So a thread that has the
//! name of a codec host and is none was started by such a host. libav gives some threads names (decoders that work on several frames at
//! once); those are nobody's, and so are all threads of hosts of two streams that have the same name, in two engines.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::CpuMeter;

/// Bytes of a name that the kernel keeps.
const NAME: usize = 15;

/// Threads that may have started others through libav.
static HOSTS: Mutex<Vec<Host>> = Mutex::new(Vec::new());

#[derive(Debug, Clone)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "other systems do not tell names of threads"))]
struct Host {
    number: u64,
    thread: i32,
    /// As the kernel has it: of [`NAME`] bytes at most.
    name: String,
    cpu: CpuMeter,
}

/// The calling thread, as long as it may open codecs for a stream. To be dropped on the same thread.
#[derive(Debug)]
pub(crate) struct CodecHost {
    number: u64,
    /// What it is called afterwards.
    then: String,
}

impl CodecHost {
    /// The calling thread, which belongs to us and is about to end when this is dropped, works for the stream whose meter `cpu` is.
    #[cfg_attr(not(feature = "libav"), allow(dead_code, reason = "without libav there are no codecs"))]
    pub(crate) fn enter(cpu: &CpuMeter) -> Self {
        let name = name_of("thread-self/").unwrap_or_default();
        Self::note(name, cpu, "fw-ends".to_owned())
    }

    /// The calling thread opens codecs for that stream, under this name: what it starts has it, too. It may be the program's, and has
    /// its own name back afterwards.
    pub(crate) fn lend(name: &str, cpu: &CpuMeter) -> Self {
        let own = name_of("thread-self/").unwrap_or_default();
        let name = name.get(..NAME).unwrap_or(name);
        let host = Self::note(name.to_owned(), cpu, own);
        rename(name);
        host
    }

    fn note(name: String, cpu: &CpuMeter, then: String) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        HOSTS.lock().push(Host { number, thread: this_thread(), name, cpu: cpu.clone() });
        Self { number, then }
    }
}

impl Drop for CodecHost {
    fn drop(&mut self) {
        // It goes on for a while, and must not be taken for one that it started.
        rename(&self.then);
        HOSTS.lock().retain(|host| host.number != self.number);
    }
}

/// Names the calling thread.
#[cfg(target_os = "linux")]
fn rename(name: &str) {
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
}

#[cfg(not(target_os = "linux"))]
fn rename(_name: &str) {}

#[cfg(target_os = "linux")]
fn this_thread() -> i32 {
    rustix::thread::gettid().as_raw_nonzero().get()
}

#[cfg(not(target_os = "linux"))]
fn this_thread() -> i32 {
    0
}

/// The name of a thread, by its place below `/proc`.
fn name_of(thread: &str) -> Option<String> {
    let name = std::fs::read_to_string(format!("/proc/{thread}comm")).ok()?;
    Some(name.trim_end_matches('\n').to_owned())
}

/// Looks for threads that libav started.
#[derive(Debug, Default)]
pub(crate) struct CodecThreads {
    /// Those found the last time, whosever they were.
    seen: HashMap<i32, Seen>,
}

/// A thread that was found.
#[derive(Debug, Clone, Copy)]
struct Seen {
    /// What it had used, nanoseconds.
    used: u64,
    /// The meter of whose hosts alone had its name when it was found first; `None` if there was none. It is nobody else's later, when hosts
    /// of another engine's stream have that name, and its own do not any more.
    owner: Option<usize>,
}

impl CodecThreads {
    /// Adds what such threads used since the last time to the meters of their streams, if those are `ours`. What a thread used after
    /// the last look before its end is not found.
    pub(crate) fn look(&mut self, ours: impl Fn(&CpuMeter) -> bool) {
        let mut hosts = HOSTS.lock().clone();
        if hosts.is_empty() {
            return;
        }
        let Ok(tasks) = std::fs::read_dir("/proc/self/task") else { return };
        let number = |name: std::ffi::OsString| name.to_str()?.parse::<i32>().ok();
        let threads: Vec<i32> = tasks.flatten().filter_map(|task| number(task.file_name())).collect();
        // Hosts that came while the threads were listed.
        hosts.extend(HOSTS.lock().iter().cloned());
        let (are_hosts, meters) =
            (hosts.iter().map(|host| host.thread).collect::<HashSet<_>>(), meters(&hosts));
        let mut seen = HashMap::new();
        for thread in threads {
            if are_hosts.contains(&thread) {
                continue;
            }
            let place = format!("self/task/{thread}/");
            let Some(name) = name_of(&place) else { continue };
            let before = self.seen.get(&thread).copied();
            let meter = meters.get(&*name);
            if meter.is_none() && before.is_none() {
                continue;
            }
            let Some(used) = used_by(&place) else { continue };
            let meter = meter.copied().flatten();
            let now_of = meter.map(CpuMeter::number);
            // A number that another thread had before begins anew.
            let (since, owner) = match before.filter(|before| before.used <= used) {
                Some(before) => (used - before.used, before.owner),
                None => (used, now_of),
            };
            // What it uses while nobody can tell whose it is stays nobody's.
            seen.insert(thread, Seen { used, owner });
            if let Some(meter) = meter.filter(|meter| ours(meter) && owner == now_of) {
                meter.add_codec(std::time::Duration::from_nanos(since));
            }
        }
        self.seen = seen;
    }
}

/// Whose a thread of a name is; nobody's, if the hosts of that name are not all of one stream.
fn meters(hosts: &[Host]) -> HashMap<&str, Option<&CpuMeter>> {
    let mut meters = HashMap::new();
    for Host { name, cpu, .. } in hosts {
        let meter = meters.entry(name.as_str()).or_insert(Some(cpu));
        *meter = meter.filter(|other| other.number() == cpu.number());
    }
    meters
}

/// CPU time of a thread in nanoseconds: the first figure of its `schedstat`, see the kernel's `sched-stats.rst`.
fn used_by(place: &str) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{place}schedstat")).ok()?;
    stat.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Duration;

    use super::*;
    use crate::sys::thread_cpu_time;

    /// Uses this much CPU time.
    fn burn(time: Duration) {
        let until = thread_cpu_time() + time;
        while thread_cpu_time() < until {
            std::hint::spin_loop();
        }
    }

    /// A host of this name that starts a thread as C code does: without a name of its own. That one burns `time`, then waits for the
    /// end as the host does.
    fn host(name: &str, cpu: &CpuMeter, time: Duration, ready: Sender<()>, end: Receiver<()>) {
        let cpu = cpu.clone();
        let work = move || {
            let _host = CodecHost::enter(&cpu);
            let (go, gone) = channel::<()>();
            let codec = std::thread::spawn(move || {
                burn(time);
                let _ = ready.send(());
                let _ = gone.recv();
            });
            // The host's own time is not a codec's.
            burn(Duration::from_millis(30));
            let _ = end.recv();
            drop(go);
            codec.join().expect("it only burns");
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(work).expect("a thread");
    }

    #[test]
    fn threads_without_a_name_of_their_own_count_for_the_stream_whose_host_made_them() {
        let (meter, other) = (CpuMeter::default(), CpuMeter::default());
        let (ready, is_ready) = channel();
        let [(end, ended), (end_two, ended_two), (end_three, ended_three)] = [(); 3].map(|()| channel());
        let time = Duration::from_millis(20);
        host("fw-test-mine", &meter, time, ready.clone(), ended);
        // Of two engines: both have a stream of this number.
        let (one, two) = (CpuMeter::default(), CpuMeter::default());
        host("fw-test-both", &one, time, ready.clone(), ended_two);
        host("fw-test-both", &two, time, ready, ended_three);
        for _ in 0..3 {
            is_ready.recv().expect("all burn");
        }
        let all = [&meter, &one, &two, &other];
        let mut threads = CodecThreads::default();
        threads.look(|found| all.iter().any(|ours| ours.number() == found.number()));
        let first = meter.codecs();
        assert!(first >= time, "{first:?}");
        assert_eq!((one.codecs(), two.codecs()), (Duration::ZERO, Duration::ZERO), "nobody knows whose");
        assert_eq!((other.codecs(), meter.total()), (Duration::ZERO, Duration::ZERO));
        // A thread that only opens codecs is a host for as long, and has its name back.
        let named = || name_of("thread-self/");
        let before = named();
        let lent = CodecHost::lend("fw-test-mine", &meter);
        assert_eq!(named().as_deref(), Some("fw-test-mine"));
        drop(lent);
        assert_eq!(named(), before);
        // What was counted is not counted again.
        threads.look(|found| found.number() == meter.number());
        assert!(meter.codecs() < first + time, "{:?}", meter.codecs());
        // Once the other stream of that number is gone it is known whose the thread is; what it used before is nobody's.
        drop(end_two);
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while HOSTS.lock().iter().any(|host| host.cpu.number() == one.number()) {
            assert!(std::time::Instant::now() < until, "the host ends");
            std::thread::yield_now();
        }
        threads.look(|found| all.iter().any(|ours| ours.number() == found.number()));
        assert!(two.codecs() < time, "{:?}", two.codecs());
        // Another engine's monitor leaves it alone.
        let before = meter.codecs();
        CodecThreads::default().look(|found| found.number() == other.number());
        assert_eq!(meter.codecs(), before);
        drop((end, end_three));
    }

    #[test]
    fn a_thread_does_not_change_its_stream_when_another_of_that_name_is_alone_for_a_moment() {
        let (one, two) = (CpuMeter::default(), CpuMeter::default());
        let time = Duration::from_millis(20);
        let (go, gone) = channel::<()>();
        let (ready, is_ready) = channel();
        let lent = CodecHost::lend("fw-test-turn", &one);
        let codec = std::thread::spawn(move || {
            burn(time);
            let _ = ready.send(());
            let _ = gone.recv();
            burn(time);
            let _ = ready.send(());
            let _ = gone.recv();
        });
        is_ready.recv().expect("it burns");
        let mut threads = CodecThreads::default();
        threads.look(|found| found.number() == two.number());
        drop(lent);
        // Between opening its codecs and its own thread, no host of that stream is known.
        let lent = CodecHost::lend("fw-test-turn", &two);
        go.send(()).expect("it waits");
        is_ready.recv().expect("it burns");
        threads.look(|found| found.number() == two.number());
        assert_eq!(two.codecs(), Duration::ZERO);
        drop((lent, go));
        codec.join().expect("it only burns");
    }
}
