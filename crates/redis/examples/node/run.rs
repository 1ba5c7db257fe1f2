//! The node itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use flowcast_core::{Config, Engine, MeasuredAdmission};
use flowcast_redis::{EngineStreams, NodeOptions, Nodes, Origins, Redis, Room, RunnerOptions, StreamRunner};
use flowcast_server::{Relay, RtmpServerExt};

use super::{Node, Result, desired, note, out};

const LOOK: Duration = Duration::from_millis(200);
/// What streams have to end in at the end.
const STOP: Duration = Duration::from_secs(12);

pub(super) fn run(redis: &Redis, node: &Node) -> Result<()> {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    ctrlc::set_handler(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })?;
    let engine = Engine::new(Config::from_env()?.with(|config| {
        config.max_streams = usize::try_from(node.max_streams).unwrap_or(usize::MAX);
        config.admission = node.measured.then(MeasuredAdmission::default);
    }))?;
    // What players ask for is looked for on all nodes; the rule is known once the server, and so its address, is.
    let found: Arc<std::sync::OnceLock<Origins>> = Arc::default();
    let origins = found.clone();
    let relay = Relay::by(move |name| origins.get()?.pull(name)).hold(Duration::from_secs(60));
    let server = engine.rtmp_server(&node.listen).relay(relay).start()?;
    let address = node.address.clone().unwrap_or_else(|| format!("rtmp://{}/live", server.address()));
    let options = NodeOptions::default().with(|options| {
        options.address = Some(address.clone());
        options.labels = node.label.clone();
    });
    let here = engine.clone();
    let nodes = Nodes::new(redis, &node.name, options, move || Room::of(&here))?;
    let desired = desired(redis, &node.name)?;
    let _ = found.set(Origins::new(redis, &nodes, desired.leases())?);
    let runner =
        StreamRunner::start(&desired, &nodes, EngineStreams::new(&engine), RunnerOptions::default())?;
    out(format_args!("{}: players and other nodes at {address}", node.name))?;
    let mut before = BTreeSet::new();
    let mut was_listed = false;
    while asked.load(Ordering::Relaxed) == 0 {
        if nodes.is_listed() != was_listed {
            was_listed = !was_listed;
            let standing =
                if was_listed { "is in the cluster" } else { "waits: another process has its name" };
            out(format_args!("{} {standing}", node.name))?;
        }
        tell(&runner, &mut before)?;
        std::thread::sleep(LOOK);
    }
    note(format_args!("handing {} streams over; Ctrl-C again ends them", before.len()));
    let report = std::thread::scope(|scope| {
        let drained = scope.spawn(|| runner.drain(Duration::from_secs(node.drain)));
        while !drained.is_finished() && asked.load(Ordering::Relaxed) < 2 {
            tell(&runner, &mut before)?;
            std::thread::sleep(LOOK);
        }
        if !drained.is_finished() {
            // What is left ends behind its leases, and others take it.
            std::process::exit(1);
        }
        drained.join().map_err(|_| "handing over failed")
    });
    out(report?)?;
    runner.stop(STOP);
    // While Redis is away, the others find out by themselves.
    let _ = nodes.leave();
    Ok(())
}

/// Tells what runs here, and what does no longer.
fn tell(runner: &StreamRunner, before: &mut BTreeSet<String>) -> std::result::Result<(), &'static str> {
    let now: BTreeSet<_> = runner.running().into_iter().map(|(name, _)| name).collect();
    for name in now.difference(before) {
        out(format_args!("{name}: runs here")).map_err(|_| "standard output is closed")?;
    }
    for name in before.difference(&now) {
        out(format_args!("{name}: does not run here any more")).map_err(|_| "standard output is closed")?;
    }
    *before = now;
    Ok(())
}
