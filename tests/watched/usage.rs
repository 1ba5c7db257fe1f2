//! Usage records of streams that are on the air: what they say was sent is what arrived, and their sums are the last figures.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use flowcast::driver::{
    OpenOutput, OpenedOutput, OutputContext, OutputDriver, OutputOpening, OutputState, Readiness,
};
use flowcast::keys::{Asker, Denial, Grant, KeyStore, StreamKey};
use flowcast::output::IfTaken;
use flowcast::rtmp::session::ClientRole;
use flowcast::source::{At, Fallback};
use flowcast::stats::{OutputPhase, OutputStats, OutputTransport};
use flowcast::usage::{UsageCut, UsageRecord, UsageSink, UsageSubject, Used};
use flowcast::{
    Engine, Error, EventKind, Mode, Output, OutputId, RtmpServerExt, Source, StreamId, StreamRef,
};
use kit::rig::{Known, engine, outputs, push, wait_event, wait_retry};
use kit::scripted::{Script, Scripted};
use kit::{FaultProxy, PATIENCE, Session, wait_until};

/// All records of an engine.
struct Ledger {
    engine: Engine,
    all: Arc<Mutex<Vec<UsageRecord>>>,
    _sink: UsageSink,
}

impl Ledger {
    fn of(engine: &Engine) -> Self {
        let all: Arc<Mutex<Vec<UsageRecord>>> = Arc::default();
        let into = all.clone();
        let keep = move |record: &UsageRecord| {
            into.lock().unwrap_or_else(PoisonError::into_inner).push(record.clone());
        };
        let sink = engine.usage().records(keep).expect("a thread");
        Self { engine: engine.clone(), all, _sink: sink }
    }

    /// Those that are cut now.
    fn records(&self) -> Vec<UsageRecord> {
        assert!(self.engine.usage().flush(PATIENCE), "records are not handed over");
        self.all.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn sum(&self, which: impl Fn(&UsageRecord) -> bool) -> Used {
        self.records().iter().filter(|record| which(record)).map(|record| record.used).sum()
    }

    /// What must be so of all records of an engine whose streams have all ended: no number twice or left out, one record begins where the
    /// one before of the same subject ends, each subject has one end, and the sums are the figures of the engine.
    #[track_caller]
    fn assert_whole(&self) {
        let records = self.records();
        let numbers: Vec<_> = records.iter().map(|record| record.id.number()).collect();
        assert_eq!(numbers, (1..=records.len() as u64).collect::<Vec<_>>());
        let run = self.engine.usage().run();
        assert!(records.iter().all(|record| record.id.run() == run));
        let mut subjects: BTreeMap<(StreamId, String), Vec<&UsageRecord>> = BTreeMap::new();
        for record in &records {
            let subject = match &record.subject {
                UsageSubject::Output { id, .. } => id.to_string(),
                other => other.as_str().to_owned(),
            };
            subjects.entry((record.stream, subject)).or_default().push(record);
        }
        for (subject, records) in &subjects {
            assert!(records.windows(2).all(|pair| pair[0].to == pair[1].from), "{subject:?}: {records:#?}");
            let ends = records.iter().filter(|record| record.cut == UsageCut::End).count();
            let last = records.last().map(|record| record.cut);
            // Players have no record of a time in which they got nothing.
            let is_whole = subject.1 == "players" || (ends == 1 && last == Some(UsageCut::End));
            assert!(is_whole, "{subject:?} has {ends} ends, and last {last:?}");
        }
        let totals = self.engine.watch().figures().expect("the engine is there").totals;
        let used: Used = records.iter().map(|record| record.used).sum();
        let micros = |time: Duration| time.as_micros();
        assert_eq!(used.bytes, totals.bytes_sent);
        assert_eq!((used.drops, used.reconnects), (totals.drops, totals.reconnects));
        assert_eq!(
            (used.frames_encoded, used.pixels_encoded),
            (totals.frames_encoded, totals.pixels_encoded)
        );
        // Each stream's is cut to whole microseconds.
        let streams = subjects.keys().map(|(stream, _)| stream).collect::<HashSet<_>>().len() as u128;
        for (what, used, total) in [
            ("CPU", used.cpu_time, totals.cpu_time),
            ("CPU of codecs", used.codec_cpu_time, totals.codec_cpu_time),
            ("fallbacks", used.fallback_time, totals.fallback_time),
        ] {
            let missing = micros(total).checked_sub(micros(used));
            assert!(missing.is_some_and(|missing| missing <= streams), "{what}: {used:?} of {total:?}");
        }
    }
}

fn named(name: &str) -> impl Fn(&UsageRecord) -> bool {
    move |record| matches!(&record.subject, UsageSubject::Output { name: it, .. } if it.contains(name))
}

fn of_output(id: OutputId) -> impl Fn(&UsageRecord) -> bool {
    move |record| matches!(&record.subject, UsageSubject::Output { id: it, .. } if *it == id)
}

fn is(kind: &str) -> impl Fn(&UsageRecord) -> bool {
    move |record| record.subject.as_str() == kind
}

/// All that was sent arrives, and not a byte more.
#[track_caller]
fn assert_arrives(proxy: &FaultProxy, bytes: u64) {
    wait_until(PATIENCE, || proxy.bytes_from_clients() >= bytes);
    assert_eq!(proxy.bytes_from_clients(), bytes, "what arrived, and what the records say");
}

fn sent(live: &StreamRef) -> u64 {
    live.stats().bytes_sent
}

#[test]
fn a_push_is_billed_what_its_receiver_got_and_a_recording_what_is_in_its_file() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let proxy = FaultProxy::start(server.address());
    let engine = engine(|_| {});
    let ledger = Ledger::of(&engine);
    let to = Output::rtmp(&format!("rtmp://{}/live", proxy.address()), "a-key").label("main");
    let stream = engine.stream(Source::file(&clip.file).looped()).label("show").owner("alice");
    let live = stream.to(to).record(clip.beside("all.flv")).start().expect("it starts");
    let ids = outputs(&live);
    for round in 0..4 {
        let before = sent(&live);
        assert!(wait_until(PATIENCE, || sent(&live) > before), "round {round}: {}", live.stats());
        engine.usage().cut();
    }
    let extra = live.add_output(Output::record(clip.beside("extra.flv"))).expect("there is room");
    let is_there = || std::fs::metadata(clip.beside("extra.flv")).is_ok_and(|file| file.len() > 10_000);
    assert!(wait_until(PATIENCE, is_there));
    engine.usage().cut();
    live.remove_output(extra).expect("it is there");
    let is_over =
        || ledger.records().iter().any(|record| of_output(extra)(record) && record.cut == UsageCut::End);
    assert!(wait_until(PATIENCE, is_over));
    assert!(server.wait_pictures(0, 60, PATIENCE));
    let stats = live.stop(PATIENCE).expect("it runs well");
    ledger.assert_whole();
    assert_arrives(&proxy, ledger.sum(of_output(ids[0])).bytes);
    let length = |name: &str| std::fs::metadata(clip.beside(name)).expect("it is there").len();
    assert_eq!(ledger.sum(of_output(ids[1])).bytes, length("all.flv"));
    assert_eq!(ledger.sum(of_output(extra)).bytes, length("extra.flv"));
    let used = ledger.sum(is("stream"));
    assert_eq!(used.media_time.as_millis(), u128::try_from(stats.media_time.as_millis()).expect("it ran"));
    assert_eq!(used.wall_time.as_micros(), stats.uptime.as_micros());
    assert_eq!(used.bytes, 0, "those are its outputs'");
    let records = ledger.records();
    for record in &records {
        assert_eq!((record.owner.as_deref(), record.label.as_deref()), (Some("alice"), Some("show")));
        if let UsageSubject::Output { id, label, name, transport, .. } = &record.subject {
            assert_eq!(label.as_deref(), (*id == ids[0]).then_some("main"));
            let expected = if *id == ids[0] { OutputTransport::Rtmp } else { OutputTransport::File };
            assert_eq!(*transport, expected);
            assert!(!name.contains("a-key"), "{name}");
        }
    }
    println!("{} records; of the push {}", records.len(), ledger.sum(of_output(ids[0])).bytes);
}

#[test]
fn an_output_that_goes_on_elsewhere_is_billed_for_each_address_and_one_that_comes_back_for_both_connections()
{
    let clip = Known::small();
    let servers = [(); 2].map(|()| Scripted::start(Script::Record));
    let proxies = [0, 1].map(|number: usize| FaultProxy::start(servers[number].address()));
    let engine = engine(|_| {});
    let to = |proxy: &FaultProxy| Output::rtmp(&format!("rtmp://{}/live", proxy.address()), "a-key");
    let live =
        engine.stream(Source::file(&clip.file).looped()).to(to(&proxies[0])).start().expect("it starts");
    let (events, output) = (live.events(), outputs(&live)[0]);
    assert!(servers[0].wait_pictures(0, 30, PATIENCE));
    assert!(wait_until(PATIENCE, || sent(&live) > 0));
    // What was sent before anybody wanted records is counted, too.
    let ledger = Ledger::of(&engine);
    live.replace_output(output, to(&proxies[1]), IfTaken::Keep).expect("it is a push");
    wait_event(&events, PATIENCE, |event| {
        matches!(event.kind, EventKind::OutputReplaced { .. }).then_some(())
    });
    assert!(servers[1].wait_pictures(0, 30, PATIENCE));
    let is_closed = || servers[0].visits()[0].closed.is_some();
    assert!(wait_until(PATIENCE, is_closed));
    let is_named = || live.stats().outputs[0].name.contains(&proxies[1].address().to_string());
    assert!(wait_until(PATIENCE, is_named));
    engine.usage().cut();
    proxies[1].reset();
    wait_retry(&events, output, PATIENCE);
    assert!(servers[1].wait_pictures(1, 30, PATIENCE));
    live.stop(PATIENCE).expect("it runs well");
    ledger.assert_whole();
    let address = |number: usize| proxies[number].address().to_string();
    let (first, second) = (ledger.sum(named(&address(0))), ledger.sum(named(&address(1))));
    let arrived = || proxies.iter().map(FaultProxy::bytes_from_clients).sum::<u64>();
    let billed = first.bytes + second.bytes;
    // A connection that is reset takes what was on its way with it: that was sent all the same.
    assert!(wait_until(PATIENCE, || servers[1].visits()[1].closed.is_some()));
    assert!(arrived() <= billed && first.bytes > 0 && second.bytes > 0, "{} of {billed}", arrived());
    assert!(first.bytes <= proxies[0].bytes_from_clients(), "{first:?}");
    assert_eq!((first.reconnects, second.reconnects), (0, 1));
    let cuts: Vec<_> =
        ledger.records().iter().filter(|record| of_output(output)(record)).map(|it| it.cut).collect();
    assert_eq!(cuts, [UsageCut::Replaced, UsageCut::Interval, UsageCut::End]);
    println!("{} and {} billed, {} arrived", first.bytes, second.bytes, arrived());
}

/// A key is the name; whose it is may change.
#[derive(Debug, Clone, Default)]
struct Owners(Arc<Mutex<HashMap<String, String>>>);

impl Owners {
    fn give(&self, name: &str, owner: &str) {
        let mut owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owners.insert(name.to_owned(), owner.to_owned());
    }
}

impl KeyStore for Owners {
    fn publisher(&self, key: &StreamKey, _: &Asker<'_>) -> Result<Grant, Denial> {
        let owners = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let owner = owners.get(key.reveal()).map_or("nobody", String::as_str);
        Ok(Grant::new(key.reveal()).owner(owner))
    }

    fn player(&self, _: &str, _: Option<&StreamKey>, _: &Asker<'_>) -> Result<(), Denial> {
        Ok(())
    }
}

/// A socket, and how many bytes came from it.
#[derive(Debug)]
struct Counted(TcpStream, u64);

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1 += count as u64;
        Ok(count)
    }
}

impl Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// A player that takes what comes until the server closes; then, how many bytes that were.
fn player(server: SocketAddr) -> JoinHandle<u64> {
    let socket = Counted(kit::tcp(server), 0);
    let mut session = Session::new(ClientRole::Play, socket, &format!("rtmp://{server}/live/studio"));
    assert!(matches!(session.go_live(), Ok(true)), "{:?}", session.events);
    std::thread::spawn(move || {
        let until = Instant::now() + 6 * PATIENCE;
        while matches!(session.read(), Ok(true)) {
            assert!(Instant::now() < until, "the server does not close");
            let _ = session.send();
        }
        session.stream.1
    })
}

#[test]
fn a_publication_is_billed_to_each_of_its_owners_its_players_in_one_record_and_a_restream_to_its_own() {
    /// The handshake alone.
    const GREETING: u64 = 1 + 2 * 1536;
    let clip = Known::small();
    let owners = Owners::default();
    owners.give("studio", "alice");
    let engine = engine(|_| {});
    let ledger = Ledger::of(&engine);
    let server = engine.rtmp_server("127.0.0.1:0").key_store(owners.clone()).start().expect("a free port");
    let (way, camera) = (FaultProxy::start(server.address()), kit::rig::engine(|_| {}));
    let to = Output::rtmp(&format!("rtmp://{}/live", way.address()), "studio");
    let camera = camera.stream(Source::file(&clip.file).looped()).to(to).start().expect("it starts");
    assert!(wait_until(PATIENCE, || engine.hub().find("studio").is_some()));
    let publication = engine.hub().find("studio").expect("it is on the air");
    let (receiver, events) = (Scripted::start(Script::Record), engine.events());
    let restream = engine.stream(Source::published("studio")).owner("carol").to(push(&receiver)).start();
    let restream = restream.expect("it starts");
    let players = [player(server.address()), player(server.address())];
    assert!(receiver.wait_pictures(0, 20, PATIENCE));
    engine.usage().cut();
    // The publisher is cut off, and comes back; meanwhile the key is another owner's.
    owners.give("studio", "bob");
    way.reset();
    wait_event(&events, PATIENCE, |event| {
        matches!(event.kind, EventKind::PublisherReturned { .. }).then_some(())
    });
    let pictures = |visit: &kit::scripted::Visit| visit.tags.iter().filter(|tag| tag.is_picture()).count();
    let before = receiver.visits().first().map_or(0, pictures);
    assert!(receiver.wait_pictures(0, before + 20, PATIENCE), "the restream does not go on");
    let last_of_camera = camera.stop(PATIENCE).expect("it runs well");
    assert_eq!(last_of_camera.reconnects, 1);
    // Told once its last records are cut; it is off the list of streams before that.
    wait_event(&events, PATIENCE, |event| {
        (event.stream == publication.id() && matches!(event.kind, EventKind::Ended { .. })).then_some(())
    });
    restream.stop(PATIENCE).expect("it runs well");
    let got: Vec<u64> = players.map(|player| player.join().expect("it was served to its end")).into();
    ledger.assert_whole();

    let records = ledger.records();
    let own: Vec<_> = records.iter().filter(|record| record.stream == publication.id()).collect();
    let owner = |record: &UsageRecord| record.owner.clone().unwrap_or_default();
    let (last_of_alice, first_of_bob) = (
        own.iter().rposition(|record| &*owner(record) == "alice"),
        own.iter().position(|record| &*owner(record) == "bob"),
    );
    assert!(last_of_alice.is_some() && last_of_alice < first_of_bob, "{own:#?}");
    let why = |cut: UsageCut| {
        own.iter().find(|record| record.cut == cut && is("stream")(record)).map(|it| owner(it))
    };
    assert_eq!(why(UsageCut::Owner).as_deref(), Some("alice"), "what she used until then");
    assert_eq!(why(UsageCut::End).as_deref(), Some("bob"));
    // Players have what the server sent them; that they were let in is told by each of their sums alike.
    let billed = ledger.sum(is("players")).bytes;
    assert_eq!(billed, server.stats().bytes_sent);
    let (got, before) = (got.iter().sum::<u64>(), got.iter().sum::<u64>() - billed);
    assert!(before % 2 == 0 && (GREETING..2 * GREETING).contains(&(before / 2)), "{billed} of {got}");
    // What goes to another stream of the engine is an output of its own kind.
    let is_tap = |record: &UsageRecord| {
        matches!(record.subject, UsageSubject::Output { transport: OutputTransport::Stream, .. })
    };
    assert!(ledger.sum(is_tap).bytes > 0);
    assert!(records.iter().filter(|record| is_tap(record)).all(|record| record.stream == publication.id()));
    let carols = ledger.sum(|record| &*owner(record) == "carol");
    assert!(carols.bytes > 0 && carols.media_time > Duration::ZERO);
    assert!(
        records.iter().all(|record| (record.stream == restream_id(&records)) == (&*owner(record) == "carol"))
    );
    println!("{billed} bytes to players, who were greeted with {}; {} restreamed", before / 2, carols.bytes);
}

/// The stream that was started for carol.
fn restream_id(records: &[UsageRecord]) -> StreamId {
    let carols = records.iter().find(|record| record.owner.as_deref() == Some("carol"));
    carols.expect("it has records").stream
}

#[test]
fn pictures_are_billed_to_the_stream_that_encodes_and_a_fallback_for_as_long_as_it_is_on_the_air() {
    let clip = Known::small();
    let engine = engine(|_| {});
    let ledger = Ledger::of(&engine);
    let encodes = Source::file(&clip.file).looped().mode(Mode::Encode);
    let encoded = engine.stream(encodes).owner("alice").record(clip.beside("encoded.flv")).start();
    let encoded = encoded.expect("it starts");
    let slate = Fallback::file(&clip.file).after(Duration::from_millis(500));
    let stood_in = engine.stream(Source::published("nobody").fallback(slate)).owner("bob");
    let stood_in = stood_in.record(clip.beside("stood_in.flv")).start().expect("it starts");
    let fallback = || stood_in.stats().fallback.map_or(Duration::ZERO, |fallback| fallback.time);
    assert!(wait_until(PATIENCE, || fallback() > Duration::from_millis(500)), "{}", stood_in.stats());
    assert!(wait_until(PATIENCE, || encoded.stats().frames_encoded > 25), "{}", encoded.stats());
    engine.usage().cut();
    // What another source stood in for is not forgotten with it.
    let next = Source::file(&clip.file).looped();
    stood_in.replace_source(next, At::NextKeyframe).expect("it can be replaced").wait().expect("it plays");
    engine.usage().cut();
    let (last, last_encoded) = (stood_in.stop(PATIENCE), encoded.stop(PATIENCE));
    let (last, last_encoded) = (last.expect("it runs well"), last_encoded.expect("it runs well"));
    ledger.assert_whole();
    let of = |owner: &'static str| ledger.sum(move |record| record.owner.as_deref() == Some(owner));
    let (alice, bob) = (of("alice"), of("bob"));
    let time = last.fallback.expect("it had one").time;
    assert_eq!((bob.fallback_time.as_micros(), bob.frames_encoded), (time.as_micros(), last.frames_encoded));
    assert_eq!(
        (alice.frames_encoded, alice.pixels_encoded),
        (last_encoded.frames_encoded, last_encoded.pixels_encoded)
    );
    assert!(alice.frames_encoded > 25 && alice.fallback_time.is_zero());
    println!("{} pictures encoded, {:?} of a fallback", alice.frames_encoded, bob.fallback_time);
}

/// An output that sends nothing, and whose `turn` does not return once it is told so.
#[derive(Debug, Clone, Default)]
struct Sticks {
    sticks: Arc<AtomicBool>,
    entered: Arc<AtomicBool>,
    released: Arc<AtomicBool>,
}

impl OpenOutput for Sticks {
    fn open(self: Box<Self>, _: &OutputOpening<'_>) -> Result<OpenedOutput, Error> {
        Ok(OpenedOutput { name: "sticks".to_owned(), driver: self })
    }
}

impl OutputDriver for Sticks {
    fn turn(&mut self, _: &mut OutputContext<'_>) -> OutputState {
        if self.sticks.load(Ordering::SeqCst) {
            self.entered.store(true, Ordering::SeqCst);
            while !self.released.load(Ordering::SeqCst) {
                std::thread::park_timeout(Duration::from_millis(1));
            }
        }
        OutputState::Running
    }

    fn cursor(&self) -> Option<u64> {
        None
    }

    fn finish(&mut self, _: &mut OutputContext<'_>) {}

    fn is_finished(&mut self) -> bool {
        true
    }

    fn readiness(&self) -> Readiness {
        Readiness::Always
    }

    fn stats(&self, stats: &mut OutputStats) {
        stats.phase = OutputPhase::Live;
    }
}

#[test]
fn a_stream_that_is_abandoned_is_billed_up_to_its_last_figures_and_never_again() {
    let clip = Known::small();
    let server = Scripted::start(Script::Record);
    let proxy = FaultProxy::start(server.address());
    let engine = engine(|_| {});
    let ledger = Ledger::of(&engine);
    let sticks = Sticks::default();
    let to = Output::rtmp(&format!("rtmp://{}/live", proxy.address()), "a-key");
    let stream = engine.stream(Source::file(&clip.file).looped()).owner("alice").to(to).to(sticks.clone());
    let live = stream.start().expect("it starts").detach();
    assert!(server.wait_pictures(0, 20, PATIENCE) && wait_until(PATIENCE, || sent(&live) > 0));
    engine.usage().cut();
    let before = sent(&live);
    assert!(wait_until(PATIENCE, || sent(&live) > before));
    sticks.sticks.store(true, Ordering::SeqCst);
    assert!(wait_until(PATIENCE, || sticks.entered.load(Ordering::SeqCst)));
    let report = engine.stop_all(&engine.streams(), Duration::from_millis(100));
    assert_eq!(report.abandoned, 1);
    let stats = live.stats();
    ledger.assert_whole();
    let records = ledger.records();
    assert_eq!(records.iter().filter(|record| record.cut == UsageCut::End).count(), 3);
    assert_eq!(ledger.sum(|record| record.owner.as_deref() == Some("alice")).bytes, stats.bytes_sent);
    assert!(wait_until(PATIENCE, || proxy.bytes_from_clients() >= stats.bytes_sent), "more than was sent");
    // Its thread comes back after all, says goodbye, and ends once more.
    sticks.released.store(true, Ordering::SeqCst);
    assert!(wait_until(PATIENCE, || engine.abandoned_now() == 0));
    engine.usage().cut();
    assert_eq!(ledger.records().len(), records.len());
}

#[test]
fn records_are_cut_by_themselves_and_only_for_who_wants_them() {
    let clip = Known::small();
    let engine = engine(|config| config.usage.interval = Duration::from_secs(1));
    let live = engine.stream(Source::file(&clip.file).looped()).record(clip.beside("all.flv")).start();
    let live = live.expect("it starts");
    engine.usage().cut();
    let ledger = Ledger::of(&engine);
    let cuts = || ledger.records().iter().filter(|record| is("stream")(record)).count();
    assert!(wait_until(PATIENCE, || cuts() >= 3), "{} cuts", cuts());
    let Ledger { _sink: sink, all, .. } = ledger;
    sink.cancel(PATIENCE);
    let had = all.lock().unwrap_or_else(PoisonError::into_inner).len();
    engine.usage().cut();
    live.stop(PATIENCE).expect("it runs well");
    assert!(engine.usage().flush(PATIENCE));
    assert_eq!(all.lock().unwrap_or_else(PoisonError::into_inner).len(), had);
}
