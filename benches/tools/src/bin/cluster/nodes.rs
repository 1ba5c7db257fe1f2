//! What nodes ask of Redis by themselves: that they are there, what has changed, and that their leases go on. Real ones, many on each connection.

use std::time::{Duration, Instant};

use flowcast::{Config, Engine};
use flowcast_bench::support::{Result, round};
use flowcast_redis::{
    DesiredOptions, DesiredStreams, Error, LeaseOptions, Leases, NodeOptions, Nodes, Redis, RedisKeys,
    RedisKeysOptions, Room,
};
use serde_json::json;

use super::store::Store;
use super::{Cli, tell};

const CONNECTIONS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(120);

/// Nodes that say that they are there; then they also look twice a second whether keys or the list have changed.
pub(crate) fn heartbeats(store: &Store, cli: &Cli) -> Result<()> {
    let engine = Engine::new(Config::default())?;
    let connections = connect(store, "nodes")?;
    let interval = NodeOptions::default().interval;
    let mut nodes = Vec::new();
    let began = Instant::now();
    for number in 0..cli.nodes {
        // Spread, as nodes are that began at any time.
        let due = began + interval * u32::try_from(number)? / u32::try_from(cli.nodes)?;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let options = NodeOptions::default().with(|options| {
            options.address = Some(format!("rtmp://10.0.{}.{}:1935/live", number / 250, number % 250));
        });
        let here = engine.clone();
        let redis = &connections[number % CONNECTIONS];
        nodes.push(Nodes::new(redis, &format!("node-{number}"), options, move || Room::of(&here))?);
    }
    std::thread::sleep(interval);
    for at in 1..=cli.rounds {
        let used = store.used()?;
        std::thread::sleep(cli.seconds);
        let mut figures = store.since(&used)?;
        let listed = nodes.first().map_or(Ok(Vec::new()), Nodes::list)?;
        let up = listed.iter().filter(|node| node.age < interval * 2).count();
        figures["nodes"] = up.into();
        figures["round"] = at.into();
        tell("heartbeats", figures);
        if up < cli.nodes * 99 / 100 {
            return Err(format!("{up} of {} nodes are there: the program is too slow", cli.nodes).into());
        }
    }
    let mut followers = Vec::new();
    for number in 0..cli.nodes {
        let redis = &connections[number % CONNECTIONS];
        let keys = RedisKeys::new(redis, engine.keys(), RedisKeysOptions::default())?;
        let leases = Leases::new(redis, &format!("node-{number}"), LeaseOptions::default())?;
        let desired = DesiredStreams::new(redis, &leases, DesiredOptions::default())?;
        followers.push((keys, leases, desired));
    }
    std::thread::sleep(interval);
    for at in 1..=cli.rounds {
        let used = store.used()?;
        std::thread::sleep(cli.seconds);
        let mut figures = store.since(&used)?;
        figures["nodes"] = cli.nodes.into();
        figures["round"] = at.into();
        tell("heartbeats, and looks at keys and the list", figures);
    }
    Ok(())
}

/// Leases that are renewed by the time they have.
pub(crate) fn leases(store: &Store, cli: &Cli) -> Result<()> {
    let options = LeaseOptions::default();
    let holders = connect(store, "leases")?;
    let holders: Vec<Leases> = holders
        .iter()
        .enumerate()
        .map(|(number, redis)| Leases::new(redis, &format!("node-{number}"), options.clone()))
        .collect::<std::result::Result<_, _>>()?;
    let (used, began) = (store.used()?, Instant::now());
    let held = std::thread::scope(|scope| {
        let take = |(number, leases): (usize, &Leases)| {
            let leases = leases.clone();
            scope.spawn(move || {
                let names = (number..cli.leases).step_by(CONNECTIONS);
                names.map(|name| taken(&leases, &format!("stream-{name}"))).collect::<Vec<_>>()
            })
        };
        let threads: Vec<_> = holders.iter().enumerate().map(take).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect::<Vec<_>>()
    });
    let held = held.into_iter().collect::<std::result::Result<Vec<_>, _>>()?;
    let mut figures = store.since(&used)?;
    figures["leases"] = held.len().into();
    figures["seconds"] = round(began.elapsed().as_secs_f64(), 1).into();
    tell("leases are taken, the first after ten seconds", figures);
    for at in 1..=cli.rounds {
        let (used, began) = (store.used()?, Instant::now());
        std::thread::sleep(cli.seconds);
        let mut figures = store.since(&used)?;
        let lost = held.iter().filter(|lease| !lease.is_held()).count();
        let renewals = held.len() as f64 * began.elapsed().as_secs_f64() / (options.ttl / 4).as_secs_f64();
        let cpu = figures["redis_cpu_ms"].as_f64().unwrap_or_default();
        figures["redis_us_per_renewal"] = json!(round(cpu * 1e3 / renewals, 2));
        figures["leases"] = held.len().into();
        figures["lost"] = lost.into();
        figures["round"] = at.into();
        tell("leases are renewed", figures);
    }
    Ok(())
}

fn taken(leases: &Leases, name: &str) -> std::result::Result<flowcast_redis::Lease, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        match leases.acquire(name) {
            Err(Error::Young { left, .. }) if Instant::now() < until => std::thread::sleep(left),
            outcome => return outcome,
        }
    }
}

fn connect(store: &Store, cluster: &str) -> Result<Vec<Redis>> {
    (0..CONNECTIONS).map(|_| store.connect(cluster)).collect()
}
