//! A network that falls and recovers: the bit rate follows it, and nobody is disconnected.

use std::time::{Duration, Instant};

use flowcast::encode::{Adaptation, FrameRate};
use flowcast::stats::{RateReason, SourceMode};
use flowcast::{BitRate, Encoding, EventKind, Events, Mode, Output, Profile, Source, StreamHandle};
use kit::rig::{Known, engine, outputs, push, wait_event};
use kit::scripted::{Script, Scripted, Seen, Visit};
use kit::{Apart, Clip, Need, PATIENCE, alone, directory, need, tc, wait_until};

use crate::stop_within;

const RATE: BitRate = BitRate::from_kbps(1200);

/// Pictures at this rate whatever they show.
fn encoding(rate: BitRate, adaptation: Option<Adaptation>) -> Encoding {
    Encoding::new(Profile::Ultra).with(|encoding| {
        encoding.video_bit_rate = Some(rate);
        encoding.filler = true;
        encoding.adaptation = adaptation;
    })
}

fn quick(change: impl FnOnce(&mut Adaptation)) -> Adaptation {
    Adaptation::default().with(|adaptation| {
        adaptation.raise_after = Duration::from_secs(1);
        change(adaptation);
    })
}

/// The next step for this reason: to which rate.
fn step(events: &Events, wanted: RateReason) -> BitRate {
    wait_event(events, PATIENCE, |event| match event.kind {
        EventKind::BitRateChanged { to, reason, .. } if reason == wanted => Some(to),
        _ => None,
    })
}

fn target(live: &StreamHandle) -> BitRate {
    live.stats().encoding.map_or(BitRate::ZERO, |encoding| encoding.target)
}

fn apart(role: &str, test: &str, deadline: Duration) {
    if need(&[Need::Apart(Apart::Network), Need::Ffmpeg]) {
        print!("{}", Apart::Network.run(role, &format!("adapt::{test}"), deadline));
    }
}

#[test]
fn a_network_that_falls_and_recovers_is_followed_on_one_connection() {
    if !alone("falls") {
        let test = "a_network_that_falls_and_recovers_is_followed_on_one_connection";
        return apart("falls", test, PATIENCE * 4);
    }
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let server = Scripted::start(Script::Record);
    tc("qdisc add dev lo root tbf rate 4mbit burst 16kb latency 400ms");
    // A machine that is busy may hold everybody up: only the network is to be judged.
    let engine = engine(|config| {
        (config.lag.drop_after, config.lag.disconnect_after) = (PATIENCE, PATIENCE * 2);
    });
    let events = engine.events();
    let source =
        Source::file(&clip).looped().mode(Mode::Encode).encoding(encoding(RATE, Some(quick(|_| {}))));
    let live = engine.stream(source).to(push(&server)).start().expect("it is encoded");
    let output = outputs(&live)[0];
    assert!(server.wait_pictures(0, 50, PATIENCE));
    assert_eq!(live.stats().mode, SourceMode::Direct, "it is encoded while it is on the air");
    tc("qdisc change dev lo root tbf rate 500kbit burst 16kb latency 400ms");
    let fell = Instant::now();
    let (to, because, lag) = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::BitRateChanged { to, reason: RateReason::Congestion, output, lag, .. } if to < RATE => {
            Some((to, output, lag))
        }
        _ => None,
    });
    println!("lowered to {to} after {:?}, {lag:?} behind", fell.elapsed());
    assert!(to < BitRate::from_kbps(500) && because == Some(output) && !lag.is_zero(), "{to} {because:?}");
    assert!(wait_until(PATIENCE, || live.stats().lag < Duration::from_millis(500)), "{}", live.stats());
    println!("caught up after {:?}", fell.elapsed());
    tc("qdisc change dev lo root tbf rate 20mbit burst 64kb latency 400ms");
    step(&events, RateReason::Calm);
    assert!(wait_until(PATIENCE * 2, || target(&live) == RATE), "{:?}", live.stats().encoding);
    let stats = live.stats();
    let encoding = stats.encoding.as_ref().expect("it encodes");
    assert!(encoding.lowered > 0 && encoding.raised > 1, "{encoding:?}");
    assert_eq!((stats.reconnects, stats.drops, server.count()), (0, 0, 1), "{stats}");
    stop_within(live, Duration::from_secs(3));
    // No picture is missing, and none had new headers.
    let visit = &server.visits()[0];
    let headers = visit.tags.iter().filter(|tag| tag.header).count();
    assert_eq!(headers, 2, "those of the picture and the sound, once");
    let pictures: Vec<i64> = visit.tags.iter().filter(|tag| tag.is_picture()).map(|tag| tag.time).collect();
    assert!(pictures.windows(2).all(|pair| (39..=41).contains(&(pair[1] - pair[0]))), "{pictures:?}");
}

#[test]
fn one_output_that_is_alone_too_slow_does_not_slow_the_other_down() {
    if !alone("slow-one") {
        let test = "one_output_that_is_alone_too_slow_does_not_slow_the_other_down";
        return apart("slow-one", test, PATIENCE * 4);
    }
    let clip = Known::small();
    let (fast, slow) = (Scripted::start(Script::Record), Scripted::start(Script::Record));
    // What goes to the one server has a narrow path of its own.
    let port = slow.address().port();
    tc("qdisc add dev lo root handle 1: htb default 1");
    tc("class add dev lo parent 1: classid 1:1 htb rate 1gbit quantum 60000");
    tc("class add dev lo parent 1: classid 1:2 htb rate 250kbit burst 16kb quantum 1514");
    tc("qdisc add dev lo parent 1:2 handle 20: pfifo limit 40");
    tc(&format!(
        "filter add dev lo parent 1: protocol ip prio 1 u32 match ip dport {port} 0xffff flowid 1:2"
    ));
    let engine = engine(|config| {
        (config.lag.drop_after, config.lag.disconnect_after) = (Duration::from_secs(3), PATIENCE * 2);
    });
    let events = engine.events();
    let source =
        Source::file(&clip.file).looped().mode(Mode::Encode).encoding(encoding(RATE, Some(quick(|_| {}))));
    let live = engine.stream(source).to(push(&fast)).to(push(&slow)).start().expect("it is encoded");
    let output = outputs(&live)[1];
    let takes = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::OutputNotFollowed { output: it, takes } => (it == output).then_some(takes),
        _ => None,
    });
    println!("not followed: it takes {takes}");
    let dropped = wait_event(&events, PATIENCE, |event| match event.kind {
        EventKind::OutputDropped { output: it, tags } => (it == output).then_some(tags),
        _ => None,
    });
    assert!(dropped > 0);
    assert!(wait_until(PATIENCE, || target(&live) == RATE), "{:?}", live.stats().encoding);
    assert!(fast.wait_pictures(0, 50, PATIENCE));
    tc("class change dev lo parent 1: classid 1:2 htb rate 100mbit burst 64kb quantum 60000");
    wait_event(&events, PATIENCE, |event| {
        matches!(event.kind, EventKind::OutputFollowed { output: it } if it == output).then_some(())
    });
    assert_eq!((live.stats().reconnects, fast.count(), slow.count()), (0, 1, 1), "{}", live.stats());
    stop_within(live, Duration::from_secs(3));
}

/// What a receiver saw of a stream, in milliseconds.
struct Received {
    /// Each picture: when it came, and how far behind it was.
    pictures: Vec<(i64, i64)>,
    lost: i64,
}

impl Received {
    fn of(visits: &[Visit], began: Instant, rate: i64) -> Self {
        let mut pictures = Vec::new();
        for visit in visits {
            let since = |at: Instant| at.saturating_duration_since(began).as_millis() as i64;
            let after_began = |tag: &&Seen| tag.is_picture() && tag.at >= began;
            let times: Vec<(i64, i64)> =
                visit.tags.iter().filter(after_began).map(|tag| (since(tag.at), tag.time)).collect();
            // The picture that was the least late was not late.
            let least = times.iter().map(|(at, time)| at - time).min().unwrap_or(0);
            pictures.extend(times.iter().map(|(at, time)| (*at, at - time - least)));
        }
        let span = pictures.last().map_or(0, |last| last.0 - pictures[0].0);
        let lost = (span * rate / 1000 + 1 - pictures.len() as i64).max(0);
        Self { pictures, lost }
    }

    /// How long after second `from` the last picture came that was a second late, up to second `to`.
    fn under_a_second(&self, from: u64, to: u64) -> f64 {
        let (from, to) = (from as i64 * 1000, to as i64 * 1000);
        let mut late =
            self.pictures.iter().filter(|picture| (from..to).contains(&picture.0) && picture.1 >= 1000);
        late.next_back().map_or(0.0, |picture| (picture.0 - from) as f64 / 1000.0)
    }

    fn p99(&self) -> i64 {
        let mut lags: Vec<i64> = self.pictures.iter().map(|picture| picture.1).collect();
        lags.sort_unstable();
        lags[lags.len() * 99 / 100]
    }
}

/// Where the network changes, in seconds, and what it takes from there.
const FALLS: [(u64, &str); 4] = [(0, "4mbit"), (30, "1500kbit"), (60, "600kbit"), (90, "4mbit")];
const MEASURED: u64 = 130;

/// Runs 2.5 Mbit/s over a network that falls twice and recovers, and prints what a receiver saw.
fn measure(name: &str, adaptation: Option<Adaptation>) {
    let directory = directory();
    let clip = Clip { rate: 30, size: (640, 360), ..Clip::default() }.make(directory.path(), "clip.mp4");
    let server = Scripted::start(Script::Record);
    let engine = engine(|_| {});
    let (events, rate) = (engine.events(), BitRate::from_kbps(2500));
    let mut encoding = encoding(rate, adaptation);
    encoding.frame_rate = Some(FrameRate::whole(30));
    let source = Source::file(&clip).looped().mode(Mode::Encode).encoding(encoding);
    tc("qdisc add dev lo root tbf rate 4mbit burst 16kb latency 400ms");
    let live =
        engine.stream(source).to(Output::rtmp(&server.url(), "a-stream-key")).start().expect("it runs");
    assert!(server.wait_pictures(0, 1, PATIENCE));
    let began = Instant::now();
    let (mut lowered, mut restored) = ([None; FALLS.len()], None);
    for (place, (at, takes)) in FALLS.into_iter().enumerate() {
        let until = FALLS.get(place + 1).map_or(MEASURED, |next| next.0);
        tc(&format!("qdisc change dev lo root tbf rate {takes} burst 16kb latency 400ms"));
        println!("{name}: {at} s: the network takes {takes}");
        while began.elapsed() < Duration::from_secs(until) {
            let Some(event) = events.next_timeout(Duration::from_millis(100)) else { continue };
            let now = began.elapsed();
            match &event.kind {
                EventKind::BitRateChanged { from, to, reason, .. } => {
                    println!("{name}: {:.1} s: {}", now.as_secs_f64(), event.kind);
                    if to < from && *reason == RateReason::Congestion {
                        lowered[place].get_or_insert(now - Duration::from_secs(at));
                    }
                    if place == 3 && *to == rate {
                        restored.get_or_insert(now - Duration::from_secs(at));
                    }
                }
                EventKind::OutputRetrying { .. } | EventKind::OutputLive { .. } => {
                    println!("{name}: {:.1} s: {}", now.as_secs_f64(), event.kind);
                }
                _ => {}
            }
        }
    }
    let stats = live.stats();
    stop_within(live, Duration::from_secs(3));
    let received = Received::of(&server.visits(), began, 30);
    let under = |place: usize| received.under_a_second(FALLS[place].0, FALLS[place + 1].0);
    println!(
        "{name}: lowered after {:?} and {:?}; lag below 1 s after {:.1} s and {:.1} s, p99 {} ms; {} pictures lost, {} tags dropped, {} disconnects; restored after {restored:?}",
        lowered[1],
        lowered[2],
        under(1),
        under(2),
        received.p99(),
        received.lost,
        stats.drops,
        stats.reconnects,
    );
}

/// The figures of docs/performance.md, by `benches/adapt.sh`; 130 s each.
#[test]
#[ignore = "it measures for minutes: benches/adapt.sh"]
fn measured_with_adaptation() {
    if !alone("with") {
        return apart("with", "measured_with_adaptation", Duration::from_secs(MEASURED) + PATIENCE);
    }
    measure("with", Some(Adaptation::default()));
}

/// The same without: pictures are dropped where the network takes less.
#[test]
#[ignore = "it measures for minutes: benches/adapt.sh"]
fn measured_without_adaptation() {
    if !alone("without") {
        return apart("without", "measured_without_adaptation", Duration::from_secs(MEASURED) + PATIENCE);
    }
    measure("without", None);
}
