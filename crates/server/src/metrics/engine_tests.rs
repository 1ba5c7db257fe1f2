//! Names, labels and sums of the figures of an engine.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use flowcast_core::{BitRate, Config, MeasuredAdmission, Output, Source, StreamHandle, StreamSpec};
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

use super::*;

/// Figures instead of an engine's.
#[derive(Debug)]
struct Given(EngineFigures, Shown);

impl Collector for Given {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.1.write(&self.0, &mut Page(encoder))
    }
}

fn page(collector: impl Collector + 'static) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(collector));
    let mut page = String::new();
    encode(&mut page, &registry).expect("it is written");
    page
}

fn engine() -> Engine {
    Engine::new(Config::default()).expect("usable settings")
}

fn wait_until(mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < until, "it does not come about");
        std::thread::yield_now();
    }
}

/// A stream that waits for somebody to publish.
fn waiting(engine: &Engine, owner: Option<&str>, number: usize) -> StreamHandle {
    let output = Output::publish(format!("made-{number}"));
    let spec = StreamSpec::new(Source::published("studio")).to(output).label(format!("stream {number}"));
    let spec = match owner {
        Some(owner) => spec.owner(owner),
        None => spec,
    };
    engine.start(spec).expect("it starts")
}

/// Figures of an engine with this many streams, of as many owners; all like one that runs.
fn many(count: usize, owner: impl Fn(usize) -> Option<String>) -> EngineFigures {
    let engine = engine();
    let live = waiting(&engine, None, 0);
    let mut figures = engine.watch().figures().expect("the engine is there");
    let one = figures.streams.pop().expect("it runs");
    live.stop(Duration::from_secs(20)).expect("it stops");
    figures.streams = (0..count)
        .map(|number| {
            let mut stream = one.clone();
            stream.id = format!("s{}", number + 1).parse().expect("a number");
            stream.label = Some(format!("label {number}").into());
            stream.owner = owner(number);
            stream
        })
        .collect();
    figures
}

/// A family of a page.
#[derive(Debug, Default)]
struct Family {
    help: String,
    kind: String,
    unit: Option<String>,
    /// Names and labels as they are written, with their values.
    series: Vec<(String, f64)>,
}

fn families(page: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut lines = page.lines();
    assert_eq!(lines.next_back(), Some("# EOF"));
    for line in lines {
        if let Some(comment) = line.strip_prefix("# ") {
            let (what, rest) = comment.split_once(' ').expect("a kind of comment");
            let (name, text) = rest.split_once(' ').expect("a name");
            let family = families.entry(name.to_owned()).or_default();
            match what {
                "HELP" => text.clone_into(&mut family.help),
                "TYPE" => text.clone_into(&mut family.kind),
                "UNIT" => family.unit = Some(text.to_owned()),
                other => panic!("{other}"),
            }
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let name = series.split('{').next().expect("a name");
            let of = name.strip_suffix("_total").unwrap_or(name);
            let family = families.get_mut(of).unwrap_or_else(|| panic!("{name} has no description"));
            family.series.push((series.to_owned(), value.parse().expect("a number")));
        }
    }
    families
}

fn labels(series: &str) -> Vec<(&str, &str)> {
    let Some((_, labels)) = series.split_once('{') else { return Vec::new() };
    let labels = labels.strip_suffix("\"}").expect("it ends with a label");
    labels.split("\",").map(|label| label.split_once("=\"").expect("a label")).collect()
}

/// What `promtool check metrics` complains of, and what the text format forbids.
fn complaints(page: &str) -> Vec<String> {
    let abbreviations =
        ["s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "pb", "m", "h", "d", "bps", "pct"];
    let other_units = [
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "minutes",
        "hours",
        "days",
        "weeks",
        "bits",
        "kilobytes",
        "megabytes",
        "gigabytes",
        "percent",
    ];
    let types = ["counter", "gauge", "histogram", "summary", "untyped"];
    let reserved = ["bucket", "count", "sum", "total", "info", "created"];
    let is_snake = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let (mut found, mut seen) = (Vec::new(), HashSet::new());
    for (name, family) in families(page) {
        let mut complain = |what: &str| found.push(format!("{name}: {what}"));
        if family.help.trim().is_empty() {
            complain("no help");
        }
        if !is_snake(&name) {
            complain("not in snake case");
        }
        let parts: BTreeSet<&str> = name.split('_').collect();
        if abbreviations.iter().any(|part| parts.contains(part)) {
            complain("an abbreviated unit");
        }
        if other_units.iter().any(|part| parts.contains(part)) {
            complain("not a base unit");
        }
        if types.iter().any(|part| parts.contains(part)) {
            complain("its type in its name");
        }
        if reserved.contains(&name.rsplit('_').next().unwrap_or_default()) {
            complain("a reserved suffix");
        }
        for unit in ["seconds", "bytes"] {
            let is_named = name.ends_with(&format!("_{unit}"));
            if parts.contains(unit) != is_named || is_named != (family.unit.as_deref() == Some(unit)) {
                complain("its unit is not the end of its name");
            }
        }
        if !["counter", "gauge"].contains(&&*family.kind) {
            complain("no type");
        }
        for (series, value) in &family.series {
            let written = series.split('{').next().unwrap_or_default();
            if (family.kind == "counter") != written.ends_with("_total") {
                complain("only counters end with _total");
            }
            if !value.is_finite() || *value < 0.0 {
                complain("not a usable value");
            }
            let labels = labels(series);
            let names: BTreeSet<_> = labels.iter().map(|(label, _)| *label).collect();
            if names.len() != labels.len() || !names.iter().all(|label| is_snake(label)) {
                complain("labels");
            }
            if names.iter().any(|label| ["le", "quantile", "job", "instance"].contains(label)) {
                complain("a label that is taken");
            }
            if !seen.insert(series.clone()) {
                complain("twice");
            }
        }
    }
    found
}

#[test]
fn the_rules_find_what_they_are_for() {
    let page = |name: &str, kind: &str, series: &str| {
        format!("# HELP {name} What it is.\n# TYPE {name} {kind}\n{series}\n# EOF\n")
    };
    assert_eq!(complaints(&page("a_tag", "counter", "a_tag_total{of=\"c\"} 1")), Vec::<String>::new());
    for (name, kind, series) in [
        ("a_ms", "gauge", "a_ms 1"),
        ("a_minutes", "gauge", "a_minutes 1"),
        ("a_seconds", "gauge", "a_seconds 1"),
        ("aB", "gauge", "aB 1"),
        ("a_gauge", "gauge", "a_gauge 1"),
        ("a_count", "gauge", "a_count 1"),
        ("a", "counter", "a 1"),
        ("a", "gauge", "a_total 1"),
        ("a", "gauge", "a{le=\"1\"} 1"),
        ("a", "gauge", "a{b=\"1\"} 1\na{b=\"1\"} 2"),
        ("a", "counter", "a_total -1"),
        ("a", "unknown", "a 1"),
    ] {
        assert!(!complaints(&page(name, kind, series)).is_empty(), "{name} {kind} {series}");
    }
}

#[test]
fn names_types_and_labels_are_as_prometheus_wants_them() {
    let engine = engine();
    let _streams = [waiting(&engine, Some("alice"), 1), waiting(&engine, None, 2)];
    assert!(engine.start(StreamSpec::new(Source::published("studio"))).is_err(), "it has no output");
    // What needs a store, a device or an encoder.
    let mut figures = engine.watch().figures().expect("the engine is there");
    let mut reels = flowcast_core::ReelStoreStats::default();
    (reels.reels, reels.bytes, reels.in_use, reels.cutting) = (7, 1000, 3, 2);
    figures.reels = Some(reels);
    let config = Config::default().with(|config| {
        config.admission = Some(MeasuredAdmission::default().with(|admission| {
            (admission.cpu, admission.memory, admission.uplink) = (None, None, Some(BitRate::from_mbps(4.0)));
        }));
    });
    figures.resources = Engine::new(config).expect("it can work").resources();
    figures.hardware = vec![("h264_nvenc".to_owned(), 2)];
    figures.streams[0].encoder = Some("h264_nvenc".to_owned());
    let page = page(Given(figures, Shown { streams: STREAMS, owners: STREAMS }));
    assert_eq!(complaints(&page), Vec::<String>::new(), "{page}");
    for line in [
        "flowcast_reels 7",
        "flowcast_reel_bytes 1000",
        "flowcast_reels_open 3",
        "flowcast_reel_jobs 2",
        "flowcast_resource_used{resource=\"uplink\"} 0.0",
        "flowcast_resource_budget{resource=\"uplink\"} 4000000.0",
        "flowcast_hardware_sessions{encoder=\"h264_nvenc\"} 2",
        "flowcast_encoding_streams{encoder=\"h264_nvenc\"} 1",
    ] {
        assert!(page.contains(&format!("{line}\n")), "{line} is missing: {page}");
    }
    // What the documentation lists is there, and nothing else.
    let families = families(&page);
    let documented = include_str!("engine.rs").lines().filter_map(|line| {
        let (name, _) = line.strip_prefix("/// | `")?.split_once('`')?;
        Some(name)
    });
    let (mut listed, mut missing) = (BTreeSet::new(), Vec::new());
    for name in documented {
        let of = name.strip_suffix("_total").unwrap_or(name);
        listed.insert(of.to_owned());
        if !families.contains_key(of) {
            missing.push(name);
        }
    }
    assert!(missing.is_empty(), "{missing:?} are not on the page");
    assert_eq!(listed.len(), 38, "{listed:?}");
    let unlisted: Vec<_> = families.keys().filter(|name| !listed.contains(*name)).collect();
    assert!(unlisted.is_empty(), "{unlisted:?} are not documented");
}

#[test]
fn a_second_engine_has_a_sub_registry_with_a_prefix_or_its_series_are_there_twice() {
    let (one, two) = (engine(), engine());
    let page = |prefix: Option<&str>| {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(EngineMetrics::new(&one)));
        let second = Box::new(EngineMetrics::new(&two));
        match prefix {
            Some(prefix) => registry.sub_registry_with_prefix(prefix).register_collector(second),
            None => registry.register_collector(second),
        }
        let mut page = String::new();
        encode(&mut page, &registry).expect("it is written");
        page
    };
    let apart = page(Some("second"));
    assert_eq!(complaints(&apart), Vec::<String>::new(), "{apart}");
    assert!(apart.contains("\nflowcast_active_streams 0\n"), "{apart}");
    assert!(apart.contains("\nsecond_flowcast_active_streams 0\n"), "{apart}");
    let complaints = complaints(&page(None));
    assert!(complaints.iter().any(|complaint| complaint.contains("twice")), "{complaints:?}");
}

#[test]
fn a_publication_takes_no_place_of_the_limit() {
    let engine = engine();
    let _stream = waiting(&engine, None, 1);
    let text = page(EngineMetrics::new(&engine));
    assert!(text.contains("flowcast_places_in_use 1\n"), "{text}");
    let mut figures = engine.watch().figures().expect("the engine is there");
    // Streams that run without a place are publications.
    figures.streams.push(figures.streams[0].clone());
    let text = page(Given(figures, Shown { streams: 0, owners: 0 }));
    assert!(
        text.contains("flowcast_active_streams 2\n") && text.contains("flowcast_places_in_use 1\n"),
        "{text}"
    );
}

#[test]
fn a_thousand_streams_without_labels_make_as_many_series_as_one() {
    let owner = |number: usize| Some(format!("owner {}", number % 500));
    let all = many(1000, owner);
    let series = |count, shown| {
        let mut figures = all.clone();
        figures.streams.truncate(count);
        let page = page(Given(figures, shown));
        assert_eq!(complaints(&page), Vec::<String>::new());
        families(&page).values().map(|family| family.series.len()).sum::<usize>()
    };
    let none = Shown { streams: 0, owners: 0 };
    let bare = series(1, none);
    assert_eq!((series(1000, none), bare < 60), (bare, true), "{bare}");
    // Ten streams with seven figures, four owners and the others with two.
    assert_eq!(series(1000, Shown { streams: 10, owners: 4 }), bare + 10 * OF_STREAMS.len() + 5 * 2);
    assert_eq!(series(1000, Shown { streams: 10, owners: 0 }), bare + 10 * OF_STREAMS.len());
    // All that can be shown by default.
    assert_eq!(series(1000, Shown { streams: STREAMS, owners: STREAMS }), bare + 700 + 101 * 2);
}

#[test]
fn owners_beyond_the_most_are_summed_up_and_nobody_is_shown_twice() {
    // Six of alice, five of somebody called like the others, two of bob, one each of carol and dan, two of nobody.
    let named = [(6, "alice"), (5, OTHERS), (2, "bob"), (1, "carol"), (1, "dan")];
    let mut all: Vec<_> = named
        .iter()
        .flat_map(|(count, name)| std::iter::repeat_n(Some((*name).to_owned()), *count))
        .collect();
    all.extend([None, None]);
    let figures = many(all.len(), |number| all[number].clone());
    let shown = |most| {
        let owners = owners(&figures.streams, most);
        owners.iter().map(|(name, owner)| ((*name).to_owned(), owner.streams)).collect::<Vec<_>>()
    };
    let expected = |owners: &[(&str, u64)]| {
        owners.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect::<Vec<_>>()
    };
    assert_eq!(shown(2), expected(&[("alice", 6), ("bob", 2), (OTHERS, 7)]));
    assert_eq!(
        shown(9),
        expected(&[("alice", 6), ("bob", 2), ("carol", 1), ("dan", 1), (OTHERS, 5)]),
        "whoever is called like the others is one of them"
    );
    let page = page(Given(figures, Shown { streams: 3, owners: 2 }));
    assert_eq!(complaints(&page), Vec::<String>::new(), "{page}");
    assert!(page.contains("flowcast_owner_active_streams{owner=\"(others)\"} 7\n"), "{page}");
    let first = "flowcast_stream_sent_bytes_total{stream=\"s1\",label=\"label 0\",owner=\"alice\"} 0\n";
    assert!(page.contains(first) && !page.contains("stream=\"s4\""), "{page}");
    assert!(page.contains("flowcast_active_streams 17\n"), "{page}");
}

#[test]
fn starts_and_ends_are_told_by_their_outcome_and_what_is_gone_is_not_shown() {
    let engine = engine();
    let metrics = EngineMetrics::new(&engine);
    let one = waiting(&engine, Some("alice"), 1);
    let two = waiting(&engine, Some("bob"), 2);
    assert!(
        engine.start(StreamSpec::new(Source::published("studio")).to(Output::publish("made-1"))).is_err()
    );
    two.stop(Duration::from_secs(20)).expect("it stops");
    // Both are told by the streams' threads.
    wait_until(|| engine.counts().started == 2 && engine.counts().ended == 1);
    let text = page(metrics.clone());
    for line in [
        "flowcast_active_streams 1",
        "flowcast_starts_total{outcome=\"started\"} 2",
        "flowcast_starts_total{outcome=\"failed\"} 1",
        "flowcast_ends_total{outcome=\"clean\"} 1",
        "flowcast_ends_total{outcome=\"failed\"} 0",
        "flowcast_ends_total{outcome=\"forced\"} 0",
        "flowcast_events_total{event=\"ended\"} 1",
        "flowcast_owner_active_streams{owner=\"alice\"} 1",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line} is missing: {text}");
    }
    assert!(!text.contains("bob"), "{text}");
    one.stop(Duration::from_secs(20)).expect("it stops");
    drop(engine);
    // With the threads of the streams, which hold it while they end.
    wait_until(|| page(metrics.clone()) == "# EOF\n");
}
