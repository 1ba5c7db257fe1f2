//! The figures of an engine for Prometheus, beside those of its streams, while streams come and go.

use flowcast::server::EngineMetrics;
use flowcast::server::prometheus_client::encoding::text::encode;
use flowcast::server::prometheus_client::registry::Registry;
use flowcast::{Output, Source};
use kit::rig::{Known, engine, push};
use kit::scripted::{Script, Scripted};
use kit::{PATIENCE, wait_until};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

/// Scrapes, one after the other.
struct Scraper(Registry);

impl Scraper {
    fn of(metrics: EngineMetrics) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        Self(registry)
    }

    fn page(&self) -> String {
        let mut page = String::new();
        encode(&mut page, &self.0).expect("it is written");
        page
    }

    /// All series, by their names and labels.
    fn series(&self) -> BTreeMap<String, f64> {
        let page = self.page();
        let series = page.lines().filter(|line| !line.starts_with('#'));
        let series = series.map(|line| line.rsplit_once(' ').expect("a value"));
        series.map(|(name, value)| (name.to_owned(), value.parse().expect("a number"))).collect()
    }

    fn value(&self, name: &str) -> f64 {
        self.series().get(name).copied().unwrap_or_else(|| panic!("{name} is not on the page"))
    }
}

#[test]
fn what_is_collected_is_what_the_streams_say_also_after_their_end() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let all = Scraper::of(EngineMetrics::new(&engine));
    let server = Scripted::start(Script::Record);
    let start = |name: &str, owner: &str| {
        let stream = engine.stream(Source::file(&clip.file).looped()).to(push(&server));
        let stream = stream.record(clip.beside(name)).label(name).owner(owner);
        stream.start().expect("it starts")
    };
    let (one, two) = (start("one.flv", "alice"), start("two.flv", "alice"));
    let sent = |name: &str| {
        let labels =
            |(series, _): &(&String, &f64)| series.contains(&format!("label=\"{name}\",owner=\"alice\""));
        let of = |(series, _): &(&String, &f64)| series.starts_with("flowcast_stream_sent_bytes_total{");
        all.series().iter().filter(of).find(labels).map(|(_, value)| *value)
    };
    let on_air = || ["one.flv", "two.flv"].iter().all(|name| sent(name).is_some_and(|bytes| bytes > 1000.0));
    assert!(wait_until(PATIENCE, on_air), "{}", all.page());
    assert_eq!(all.value("flowcast_owner_active_streams{owner=\"alice\"}"), 2.0);
    assert_eq!(all.value("flowcast_active_streams"), 2.0);
    // What a stream says lies between two scrapes.
    let (before, said, after) = (sent("one.flv"), one.stats().bytes_sent as f64, sent("one.flv"));
    assert!(before <= Some(said) && Some(said) <= after, "{before:?} {said} {after:?}");
    let page = all.page();
    assert!(!page.contains("a-stream-key") && !page.contains("127."), "{page}");

    let ends = [one.stop(PATIENCE).expect("it stops"), two.stop(PATIENCE).expect("it stops")];
    assert!(
        wait_until(PATIENCE, || all.value("flowcast_ends_total{outcome=\"clean\"}") == 2.0),
        "{}",
        all.page()
    );
    let bytes: u64 = ends.iter().map(|stats| stats.bytes_sent).sum();
    assert_eq!(all.value("flowcast_sent_bytes_total"), bytes as f64);
    assert!(bytes > 2000 && sent("one.flv").is_none());
    assert_eq!(all.value("flowcast_active_streams"), 0.0);
    assert_eq!(all.value("flowcast_held_bytes{part=\"ring\"}"), 0.0);
    assert!(all.value("flowcast_cpu_seconds_total{threads=\"own\"}") > 0.0);
}

#[test]
fn no_counter_goes_back_while_streams_come_and_go() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let scraper = Scraper::of(EngineMetrics::new(&engine).streams(0));
    let done = AtomicBool::new(false);
    let (scrapes, back) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| {
            let (mut before, mut scrapes, mut back) = (BTreeMap::new(), 0u32, Vec::new());
            loop {
                // One more after the last stream has ended.
                let is_last = done.load(Ordering::Acquire);
                let now = scraper.series();
                for (name, value) in
                    before.iter().filter(|(name, _): &(&String, &f64)| name.contains("_total"))
                {
                    if now.get(name).is_none_or(|now| now < value) {
                        back.push(format!("{name}: {value}, then {:?}", now.get(name)));
                    }
                }
                (before, scrapes) = (now, scrapes + 1);
                if is_last {
                    return (scrapes, back);
                }
            }
        });
        for round in 0..4 {
            let streams: Vec<_> = (0..8)
                .map(|number| {
                    let source = Source::file(&clip.file).looped();
                    let path = clip.beside(&format!("{round}-{number}.flv"));
                    engine.stream(source).to(Output::record(path)).start().expect("it starts")
                })
                .collect();
            let moves = || streams.iter().all(|stream| stream.stats().bytes_sent > 0);
            assert!(wait_until(PATIENCE, moves), "they are on the air");
            streams.into_iter().for_each(|stream| drop(stream.stop(PATIENCE).expect("it stops")));
        }
        done.store(true, Ordering::Release);
        watching.join().expect("it only reads")
    });
    assert_eq!((back, scrapes > 10), (Vec::<String>::new(), true), "{scrapes} scrapes");
    assert!(scraper.value("flowcast_sent_bytes_total") > 0.0);
    assert_eq!(scraper.value("flowcast_starts_total{outcome=\"started\"}"), 32.0);
}
