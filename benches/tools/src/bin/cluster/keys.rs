//! Look-ups as a server makes them, by a node's own registry and by one that is shared.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flowcast::keys::{Asker, KeyStore, StreamKey};
use flowcast::{Config, Engine};
use flowcast_bench::process;
use flowcast_bench::support::{Result, round};
use flowcast_redis::{RedisKeys, RedisKeysOptions};
use serde_json::{Value, json};

use super::store::Store;
use super::{Cli, tell};

/// Of those that look up.
const THREADS: u32 = 2;
/// Keys that are replaced meanwhile, a second.
const CHANGES: u32 = 10;
const CLUSTER: &str = "keys";
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) fn measure(store: &Store, cli: &Cli) -> Result<()> {
    let keys: Vec<StreamKey> = (0..cli.keys).map(|number| format!("key-of-name-{number}").into()).collect();
    let name = |number: usize| format!("name-{number}");
    let alone = Engine::new(Config::default())?;
    for (number, key) in keys.iter().enumerate() {
        alone.keys().add(&name(number), key.clone())?;
    }
    let engine = Engine::new(Config::default())?;
    let elsewhere = RedisKeys::new(&store.connect(CLUSTER)?, engine.keys(), RedisKeysOptions::default())?;
    let (empty, used, began) = (store.memory()?, store.used()?, Instant::now());
    for (number, key) in keys.iter().enumerate() {
        elsewhere.add(&name(number), key.clone())?;
    }
    let mut figures = store.since(&used)?;
    figures["keys"] = cli.keys.into();
    figures["seconds"] = round(began.elapsed().as_secs_f64(), 1).into();
    figures["redis_bytes_per_key"] = ((store.memory()? - empty) / cli.keys as u64).into();
    tell("keys are issued one after the other", figures);

    let (memory, used, began) = (process::status("VmRSS"), store.used()?, Instant::now());
    let here = Engine::new(Config::default())?;
    let shared = RedisKeys::new(&store.connect(CLUSTER)?, here.keys(), RedisKeysOptions::default())?;
    if !shared.wait_until_known(PATIENCE) {
        return Err("the keys are not known in time".into());
    }
    let took = began.elapsed();
    let mut figures = store.since(&used)?;
    figures["ms"] = round(took.as_secs_f64() * 1e3, 1).into();
    figures["node_bytes_per_key"] =
        ((process::status("VmRSS").saturating_sub(memory) << 10) / cli.keys as u64).into();
    tell("a node that starts reads all keys", figures);

    for at in 1..=cli.rounds {
        let replace = |number: usize| {
            alone.keys().replace(&name(number), format!("other-{number}"), Duration::ZERO)?;
            alone.keys().replace(&name(number), keys[number].clone(), Duration::ZERO)?;
            Ok(())
        };
        let used = store.used()?;
        let figures = looked_up(alone.keys(), &keys, cli, replace)?;
        round_of("Engine::keys", at, figures, store.since(&used)?);
        let replace = |number: usize| {
            elsewhere.replace(&name(number), format!("other-{number}"), Duration::ZERO)?;
            elsewhere.replace(&name(number), keys[number].clone(), Duration::ZERO)?;
            Ok(())
        };
        let used = store.used()?;
        let figures = looked_up(&shared, &keys, cli, replace)?;
        round_of("RedisKeys", at, figures, store.since(&used)?);
    }
    Ok(())
}

fn round_of(what: &str, at: u32, mut figures: Value, redis: Value) {
    figures["round"] = at.into();
    if let (Value::Object(figures), Value::Object(redis)) = (&mut figures, redis) {
        figures.extend(redis);
    }
    tell(what, figures);
}

/// Looks keys up at the rate for the time that was asked for, one half for publishers, one for players; keys are replaced meanwhile.
fn looked_up(
    store: &(dyn KeyStore + Sync),
    keys: &[StreamKey],
    cli: &Cli,
    replace: impl Fn(usize) -> Result<()> + Sync,
) -> Result<Value> {
    let is_over = AtomicBool::new(false);
    let (mut times, mut cpu, mut refused) = (Vec::new(), Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let changes = scope.spawn(|| {
            let began = Instant::now();
            for change in 0.. {
                wait_until(began + Duration::from_secs(1) * change / CHANGES);
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                // Not those that are looked up: an answer that is another one is none to be compared.
                if let Err(error) = replace(change as usize % (keys.len() / 100).max(1)) {
                    return Err(error.to_string());
                }
            }
            Ok(())
        });
        let looking: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || look_up(store, keys, cli, thread))).collect();
        for thread in looking {
            let (mut own, used, not_found) = thread.join().map_err(|_| "a thread has failed")?;
            times.append(&mut own);
            cpu += used;
            refused += not_found;
        }
        is_over.store(true, Ordering::Relaxed);
        changes.join().map_err(|_| "a thread has failed")??;
        Ok::<(), Box<dyn std::error::Error>>(())
    })?;
    if refused > 0 {
        return Err(format!("{refused} were refused").into());
    }
    times.sort_unstable();
    let part = |part: f64| {
        let index = (times.len() as f64 * part) as usize;
        round(times.get(index.min(times.len().saturating_sub(1))).map_or(0.0, Duration::as_secs_f64) * 1e6, 2)
    };
    Ok(json!({
        "lookups": times.len(),
        "p50_us": part(0.5),
        "p99_us": part(0.99),
        "p999_us": part(0.999),
        "most_us": part(1.0),
        "cpu_us_each": round(cpu.as_secs_f64() * 1e6 / times.len().max(1) as f64, 3),
    }))
}

/// The part of one thread: what each took, CPU time for all, and how many were refused.
fn look_up(
    store: &dyn KeyStore,
    keys: &[StreamKey],
    cli: &Cli,
    thread: u32,
) -> (Vec<Duration>, Duration, u64) {
    const BEAT: Duration = Duration::from_millis(2);
    let each = (f64::from(cli.lookups / THREADS) * BEAT.as_secs_f64()) as usize;
    let peer: SocketAddr = ([192, 0, 2, 9], 1935).into();
    let asker = Asker::new(peer, "live");
    let names: Vec<_> = (0..keys.len()).map(|number| format!("name-{number}")).collect();
    let mut times = Vec::with_capacity(cli.lookups as usize * cli.seconds.as_secs() as usize);
    let (mut random, mut refused) = (0x2545_f491_4f6c_dd1d_u64 ^ u64::from(thread), 0);
    let (began, used) = (Instant::now(), process::thread_cpu_time());
    for beat in 0.. {
        let at = began + BEAT * beat;
        if at > began + cli.seconds {
            break;
        }
        wait_until(at);
        for look in 0..each {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let changing = keys.len() / 100;
            let number = changing + random as usize % (keys.len() - changing).max(1);
            let began = Instant::now();
            let is_right = if look % 2 == 0 {
                black_box(store.publisher(&keys[number], &asker)).is_ok()
            } else {
                black_box(store.player(&names[number], None, &asker)).is_ok()
            };
            times.push(began.elapsed());
            refused += u64::from(!is_right);
        }
    }
    (times, process::thread_cpu_time() - used, refused)
}

fn wait_until(at: Instant) {
    std::thread::sleep(at.saturating_duration_since(Instant::now()));
}
