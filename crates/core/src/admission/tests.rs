//! Arithmetic with figures that the tests give: no clock, and nothing that is measured.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::error::{Resource, Shortage};

const SECOND: Duration = Duration::from_secs(1);
/// On the air for long enough.
const SETTLED: Option<Duration> = Some(Duration::from_secs(15));

/// An encode of this size, 25 pictures a second, to one RTMP server.
fn encode(size: (u32, u32), preset: &str) -> Ask {
    let encode = EncodeKind {
        codec: "h264",
        preset: preset.to_owned(),
        size: Some(size),
        frame_rate: Some(25),
        most_size: None,
        most_frame_rate: None,
        kbps: 1840,
    };
    ask(Work::Encode(encode), Ways { plain: 1, ..Ways::default() })
}

fn ask(work: Work, ways: Ways) -> Ask {
    Ask { kind: Kind { work, has_fallback: false, ways }, media: None, is_once: false }
}

fn reel(pushes: u32) -> Ask {
    ask(Work::Reel, Ways { plain: pushes, ..Ways::default() })
}

/// Two cores, a gigabyte of which 400 MB are left.
fn measured() -> Measured {
    Measured {
        cores: 2.0,
        cpu: 0.3,
        resident: 100_000_000,
        memory: Some((1_000_000_000, 400_000_000)),
        uplink: 0.0,
    }
}

/// A ledger with round costs: a core for a hundred megapixels, 20 MB for a reel.
fn ledger(change: impl FnOnce(&mut MeasuredAdmission)) -> Ledger {
    let mut admission = MeasuredAdmission::default();
    let costs = &mut admission.costs;
    let nothing = StreamCost::default();
    (costs.direct, costs.push, costs.sound) = (nothing, nothing, nothing);
    (costs.encode_memory, costs.encode_memory_per_pixel) = (0, 0);
    costs.encode = vec![
        EncodeCost { preset: "ultrafast".to_owned(), cpu_per_megapixel: 0.01 },
        EncodeCost { preset: "slow".to_owned(), cpu_per_megapixel: 0.1 },
    ];
    costs.reel = StreamCost { cpu: 0.01, memory: 20_000_000 };
    change(&mut admission);
    admission.check().expect("it can work");
    let mut ledger = Ledger::new(Some(admission));
    ledger.measure(measured(), &HashMap::new());
    ledger
}

fn take(ledger: &mut Ledger, ask: &Ask) -> Result<Slot, Shortage> {
    match ledger.choose(std::slice::from_ref(ask)) {
        Ok(choice) => Ok(ledger.take(ask.clone(), choice.needs)),
        Err(Error::CapacityExceeded { shortage }) => Err(shortage),
        Err(other) => panic!("{other}"),
    }
}

fn used(ledger: &Ledger, resource: Resource) -> f64 {
    ledger.uses().iter().find(|used| used.resource == resource).expect("it has a budget").used
}

fn is_near(figure: f64, expected: f64) -> bool {
    (figure - expected).abs() < 1e-6 * expected.abs().max(1.0)
}

/// What a stream uses that has the outputs it was started with.
fn reading(ask: &Ask, cpu: f64, on_air: Option<Duration>) -> Reading {
    Reading { cpu, uplink: 2e6, held: 0, on_air, ways: ask.kind.ways, does: Some(Does::Encode) }
}

#[test]
fn each_resource_is_refused_with_its_figures_when_it_is_short() {
    // 1.8 cores may be used, 0.3 are. 640x360 at 25 pictures is 5.76 megapixels a second.
    let mut cpu = ledger(|_| {});
    let ask = encode((640, 360), "slow");
    take(&mut cpu, &ask).expect("0.576 more fit");
    take(&mut cpu, &ask).expect("0.576 more fit");
    let short = take(&mut cpu, &ask).expect_err("three are too many");
    assert_eq!(short.resource, Resource::Cpu);
    assert!(is_near(short.used, 0.3 + 2.0 * 0.576) && is_near(short.needed, 0.576), "{short:?}");
    assert!(is_near(short.budget, 1.8) && short.free_in.is_none(), "{short:?}");
    // 900 of 1000 MB may be used, 600 are; each takes 20.
    let mut memory = ledger(|_| {});
    for _ in 0..15 {
        take(&mut memory, &reel(0)).expect("it fits");
    }
    let short = take(&mut memory, &reel(0)).expect_err("it is full");
    assert_eq!((short.resource, short.used, short.needed), (Resource::Memory, 9e8, 2e7));
    // In bytes it is this process alone that counts.
    let mut own = ledger(|admission| admission.memory = Some(MemoryBudget::Bytes(150_000_000)));
    take(&mut own, &reel(0)).expect("100 and 20");
    take(&mut own, &reel(0)).expect("100 and 40");
    assert_eq!(take(&mut own, &reel(0)).map_err(|short| short.budget), Err(1.5e8));
    // 1840 and 160 kbit/s, and 5 % for packets.
    let mut uplink = ledger(|admission| admission.uplink = Some(BitRate::from_mbps(5.0)));
    let ask = encode((640, 360), "ultrafast");
    take(&mut uplink, &ask).expect("2.1 of 5");
    take(&mut uplink, &ask).expect("4.2 of 5");
    let short = take(&mut uplink, &ask).expect_err("6.3 of 5");
    assert_eq!(
        (short.resource, short.used, short.needed, short.budget),
        (Resource::Uplink, 4.2e6, 2.1e6, 5e6)
    );
    // What sends nothing needs nothing of it.
    take(&mut uplink, &reel(0)).expect("a recording is no load for the network");
}

#[test]
fn a_quota_is_what_a_share_is_of_and_what_has_no_budget_is_no_limit() {
    let mut quota = ledger(|_| {});
    quota.measure(Measured { cores: 0.5, cpu: 0.4, ..measured() }, &HashMap::new());
    assert_eq!(take(&mut quota, &encode((640, 360), "ultrafast")).map_err(|short| short.budget), Err(0.45));
    let mut none = ledger(|admission| (admission.cpu, admission.memory) = (None, None));
    assert!(none.uses().is_empty());
    for _ in 0..100 {
        take(&mut none, &encode((1920, 1080), "slow")).expect("nothing is limited");
    }
    // Where nothing tells how much memory there is, a share of it limits nothing.
    let mut unknown = ledger(|admission| admission.cpu = None);
    unknown.measure(Measured { memory: None, ..measured() }, &HashMap::new());
    assert!(unknown.uses().is_empty() && take(&mut unknown, &reel(1)).is_ok());
    // Off.
    let mut off = Ledger::new(None);
    assert!(take(&mut off, &encode((1920, 1080), "slow")).is_ok() && off.needs(&reel(1)).is_none());
}

#[test]
fn a_burst_of_starts_counts_before_any_of_it_is_seen() {
    let mut ledger = ledger(|_| {});
    let ask = encode((1280, 720), "ultrafast");
    // Each takes 0.23 cores, of 1.5 that are left. The measurement shows nothing of them.
    let slots: Vec<_> = (0..20).map_while(|_| take(&mut ledger, &ask).ok()).collect();
    assert_eq!(slots.len(), 6);
    ledger.measure(measured(), &HashMap::new());
    assert!(take(&mut ledger, &ask).is_err(), "a measurement in which they do not show changes nothing");
    // They begin: what shows of them is not counted twice.
    let began: HashMap<_, _> = slots.iter().map(|slot| (*slot, reading(&ask, 0.1, None))).collect();
    ledger.measure(measured(), &began);
    assert!(is_near(used(&ledger, Resource::Cpu), 0.3 + 6.0 * 0.2304), "{:?}", ledger.uses());
    assert!(take(&mut ledger, &ask).is_err());
    // Not long enough on the air, and long enough.
    let on_air = |length| slots.iter().map(|slot| (*slot, reading(&ask, 0.1, length))).collect();
    ledger.measure(measured(), &on_air(Some(14 * SECOND)));
    assert!(take(&mut ledger, &ask).is_err());
    ledger.measure(measured(), &on_air(SETTLED));
    assert!(is_near(used(&ledger, Resource::Cpu), 0.3 + 6.0 * 0.1));
    // What they use is also what the next one is expected to use.
    let needs = ledger.needs(&ask).expect("it is on");
    assert!(is_near(needs.cpu, 0.1) && needs.basis == NeedBasis::Running { streams: 6 });
    assert_eq!((0..20).map_while(|_| take(&mut ledger, &ask).ok()).count(), 9);
}

#[test]
fn a_stream_that_uses_more_than_was_expected_counts_with_what_it_uses_at_once() {
    let mut ledger = ledger(|_| {});
    let ask = encode((640, 360), "ultrafast");
    let slot = take(&mut ledger, &ask).expect("it fits");
    ledger.measure(measured(), &HashMap::from([(slot, reading(&ask, 1.4, None))]));
    assert!(is_near(used(&ledger, Resource::Cpu), 1.7));
    // One that rests, or whose push is off the air, counts with what it will use again.
    ledger.measure(measured(), &HashMap::from([(slot, reading(&ask, 0.0, None))]));
    assert!(is_near(used(&ledger, Resource::Cpu), 0.3 + 0.0576));
}

#[test]
fn what_a_stream_used_is_free_when_it_ends_and_not_a_window_later() {
    let mut ledger = ledger(|_| {});
    let ask = encode((640, 360), "slow");
    let slots = [(); 2].map(|()| take(&mut ledger, &ask).expect("it fits"));
    let readings = slots.map(|slot| (slot, reading(&ask, 0.7, SETTLED)));
    ledger.measure(measured(), &HashMap::from(readings));
    assert!(take(&mut ledger, &ask).is_err());
    ledger.give_back(slots[0]);
    assert!(is_near(used(&ledger, Resource::Cpu), 1.0));
    take(&mut ledger, &ask).expect("0.7 are free");
    // When others use less, that is room, too.
    assert!(take(&mut ledger, &ask).is_err());
    ledger.measure(Measured { cpu: -0.4, ..measured() }, &HashMap::from([readings[1]]));
    assert!(take(&mut ledger, &ask).is_ok());
}

#[test]
fn streams_are_examples_only_for_what_is_like_them() {
    let mut ledger = ledger(|_| {});
    let with_size = |size, media: &str| {
        let mut ask = encode((640, 360), "slow");
        ask.media = Some(Media::File(media.into()));
        if let Work::Encode(encode) = &mut ask.kind.work {
            encode.size = size;
        }
        ask
    };
    let like_its_source = with_size(None, "a.mp4");
    let slot = take(&mut ledger, &encode((640, 360), "ultrafast")).expect("it fits");
    ledger.give_back(slot);
    ledger.measure(Measured { cores: 64.0, ..measured() }, &HashMap::new());
    let slot = take(&mut ledger, &like_its_source).expect("it fits");
    let mut measure = |reading| {
        ledger.measure(Measured { cores: 64.0, ..measured() }, &HashMap::from([(slot, reading)]));
        let basis = |ask: &Ask| ledger.needs(ask).expect("it is on").basis;
        let running = NeedBasis::Running { streams: 1 };
        (basis(&like_its_source) == running, basis(&with_size(None, "b.mp4")) == running)
    };
    let settled = reading(&like_its_source, 0.2, SETTLED);
    // Of another file nobody knows how large its picture is.
    assert_eq!(measure(settled), (true, false));
    let more = Ways { plain: 2, ..Ways::default() };
    assert_eq!(measure(Reading { ways: more, ..settled }), (false, false), "it has an output more");
    ledger.measure(Measured { cores: 64.0, ..measured() }, &HashMap::from([(slot, settled)]));
    ledger.plays_another(slot);
    ledger.measure(Measured { cores: 64.0, ..measured() }, &HashMap::from([(slot, settled)]));
    assert_eq!(ledger.needs(&like_its_source).expect("it is on").basis, NeedBasis::Table);
    // A size that is given makes all files alike.
    let small = |media| with_size(Some((640, 360)), media);
    let slot = take(&mut ledger, &small("a.mp4")).expect("it fits");
    let settled = reading(&small("a.mp4"), 0.2, SETTLED);
    ledger.measure(Measured { cores: 64.0, ..measured() }, &HashMap::from([(slot, settled)]));
    assert_eq!(
        ledger.needs(&small("b.mp4")).map(|needs| needs.basis),
        Some(NeedBasis::Running { streams: 1 })
    );
    assert_eq!(ledger.needs(&encode((1280, 720), "slow")).map(|needs| needs.basis), Some(NeedBasis::Table));
}

#[test]
fn what_might_have_been_encoded_and_is_not_counts_as_the_copy_it_is_and_is_no_example_of_an_encode() {
    let mut ledger = ledger(|admission| admission.costs.direct.cpu = 0.02);
    let of = |file: &str| Ask { media: Some(Media::File(file.into())), ..encode((640, 360), "slow") };
    let slot = take(&mut ledger, &of("a.mp4")).expect("it fits");
    let does = |does, on_air| Reading { does, ..reading(&of("a.mp4"), 0.01, on_air) };
    let cpu = |ledger: &Ledger| used(ledger, Resource::Cpu) - 0.3;
    let mut measure = |reading| {
        ledger.measure(measured(), &HashMap::from([(slot, reading)]));
        let basis = ledger.needs(&of("b.mp4")).expect("it is on").basis;
        (cpu(&ledger), basis)
    };
    let is =
        |(found, basis): (f64, NeedBasis), expected| is_near(found, expected) && basis == NeedBasis::Table;
    // 0.576 and what reading takes, as long as nobody knows; also while it plays a reel that may be encoded beside it.
    assert!(is(measure(does(None, None)), 0.596));
    assert!(is(measure(does(Some(Does::Other), Some(SECOND))), 0.596));
    // It settles from a reel: that is no example for another file, which has to be encoded first.
    assert!(is(measure(does(Some(Does::Other), SETTLED)), 0.01));
    assert!(is(measure(does(Some(Does::CopyFile), Some(SECOND))), 0.02));
    ledger.measure(measured(), &HashMap::from([(slot, does(Some(Does::Encode), SETTLED))]));
    assert_eq!(
        ledger.needs(&of("b.mp4")).map(|needs| needs.basis),
        Some(NeedBasis::Table),
        "it is a copy now"
    );
    // The next item of a list may have to be encoded.
    let slot = take(&mut ledger, &encode((640, 360), "slow")).expect("it fits");
    let copies = Reading { does: Some(Does::CopyFile), ..reading(&of("a.mp4"), 0.0, Some(SECOND)) };
    ledger.measure(measured(), &HashMap::from([(slot, copies)]));
    assert!(used(&ledger, Resource::Cpu) > 0.3 + 0.576);
}

#[test]
fn when_there_is_room_follows_from_known_ends_and_is_never_invented() {
    let mut ledger = ledger(|_| {});
    let ask = encode((640, 360), "slow");
    let slots = [(); 2].map(|()| take(&mut ledger, &ask).expect("it fits"));
    let larger = encode((1280, 640), "slow");
    let short = |ledger: &mut Ledger, ask: &Ask| take(ledger, ask).expect_err("there is no room");
    let (small, large) = (short(&mut ledger, &ask), short(&mut ledger, &larger));
    let free_in = |short, ask, ends: &[(Slot, Duration)]| ledger.with_end(short, ask, ends).free_in;
    assert_eq!(free_in(small, &ask, &[]), None);
    let ends = [(slots[1], 90 * SECOND), (slots[0], 30 * SECOND)];
    assert_eq!(free_in(small, &ask, &ends), Some(30 * SECOND), "one that ends is enough");
    // 2.05 cores are more than there are at all.
    assert_eq!(free_in(large, &larger, &ends), None);
    let middle = encode((900, 640), "slow");
    let needs_both = short(&mut ledger, &middle);
    assert_eq!(ledger.with_end(needs_both, &middle, &ends).free_in, Some(90 * SECOND));
    assert_eq!(
        ledger.with_end(needs_both, &middle, &ends[..1]).free_in,
        None,
        "the other one may run for ever"
    );
    // Two resources are short: the later of the two.
    let mut uplink = self::ledger(|admission| admission.uplink = Some(BitRate::from_mbps(3.0)));
    let sends = take(&mut uplink, &encode((64, 36), "ultrafast")).expect("it fits");
    let works = ask_of_cpu(1.4);
    let works = take(&mut uplink, &works).expect("it fits");
    let both = encode((640, 360), "slow");
    let first = short(&mut uplink, &both);
    let ends = [(sends, 10 * SECOND), (works, 70 * SECOND)];
    assert_eq!(uplink.with_end(first, &both, &ends).free_in, Some(70 * SECOND));
    assert_eq!(uplink.with_end(first, &both, &ends[..1]).free_in, None);
}

/// An encode without outputs that takes so many cores.
fn ask_of_cpu(cores: f64) -> Ask {
    let Work::Encode(encode) = encode((1000, (cores * 400.0) as u32), "slow").kind.work else {
        unreachable!()
    };
    // 25 pictures of 1000 pixels and `cores` * 400 lines are 10 million for each core.
    ask(Work::Encode(encode), Ways::default())
}

#[test]
fn the_first_form_that_fits_is_chosen_and_what_was_short_for_the_first_is_kept() {
    let ledger = ledger(|_| {});
    let forms = [encode((1280, 720), "slow"), encode((640, 360), "slow"), encode((640, 360), "ultrafast")];
    let choice = ledger.choose(&forms).expect("the second fits");
    assert_eq!(choice.number, 1);
    assert!(is_near(choice.short.expect("the first did not fit").needed, 2.304));
    let none = ledger.choose(&[encode((1920, 1080), "slow"), encode((1280, 720), "slow")]);
    let Err(error @ Error::CapacityExceeded { shortage }) = none else { panic!("{none:?}") };
    assert!(is_near(shortage.needed, 5.184), "what is refused is what was asked for: {shortage:?}");
    assert_eq!((error.code(), error.http_status(), error.is_retryable()), ("CAPACITY_EXCEEDED", 503, true));
    let text = "not enough left for the stream: CPU: 0.30 of 1.80 cores in use, 5.18 needed";
    assert_eq!(error.to_string(), text);
}

#[test]
fn what_a_stream_is_can_be_corrected_and_other_settings_judge_anew() {
    let mut ledger = ledger(|admission| admission.costs.direct = StreamCost { cpu: 0.5, memory: 0 });
    let slot = take(&mut ledger, &reel(0)).expect("it fits");
    ledger.correct(slot, |kind| kind.work = Work::Direct);
    assert!(is_near(used(&ledger, Resource::Cpu), 0.8));
    let mut settings = ledger.settings().expect("it is on").clone();
    settings.costs.direct.cpu = 0.1;
    ledger.set(Some(settings));
    assert!(!ledger.is_measured() && ledger.uses().is_empty(), "it is measured again first");
    ledger.measure(measured(), &HashMap::new());
    assert!(is_near(used(&ledger, Resource::Cpu), 0.4));
    ledger.give_back(slot);
    ledger.correct(slot, |kind| kind.work = Work::Reel);
    assert!(is_near(used(&ledger, Resource::Cpu), 0.3));
}

#[test]
fn the_table_adds_up_what_a_stream_is_made_of() {
    let costs = Costs::default();
    let needs = |ask: &Ask| costs.needs(&ask.kind);
    let one = needs(&reel(1));
    assert!(is_near(one.cpu, 0.0025) && one.memory == 3_000_000 && one.uplink == BitRate::from_kbps(6300));
    let ways = Ways { plain: 1, tls: 2, files: 1, others: 1 };
    let many = needs(&Ask { kind: Kind { work: Work::Direct, has_fallback: true, ways }, ..reel(0) });
    assert!(is_near(many.cpu, 0.0025 + 0.0015 + 0.004 + 0.0015 + 0.0005 + 0.001), "{many:?}");
    assert_eq!((many.memory, many.uplink.bps()), (22_000_000, 18_900_000));
    // 27.648 megapixels a second.
    let mut picture = encode((1280, 720), "ultrafast");
    let Work::Encode(encode) = &mut picture.kind.work else { unreachable!() };
    encode.frame_rate = Some(30);
    assert!(is_near(needs(&picture).cpu, 0.0025 + 0.27648 + 0.03 + 0.0015), "{:?}", needs(&picture));
    assert_eq!(needs(&picture).memory, 40_000_000 + 46_080_000 + 1_000_000);
    let unknown = |change: &dyn Fn(&mut EncodeKind)| {
        let mut ask = picture.clone();
        let Work::Encode(encode) = &mut ask.kind.work else { unreachable!() };
        (encode.size, encode.frame_rate) = (None, None);
        change(encode);
        needs(&ask).cpu
    };
    let cpu = |megapixels: f64, each: f64| 0.0025 + megapixels * each + 0.03 + 0.0015;
    assert!(is_near(unknown(&|_| {}), cpu(62.208, 0.010)), "1080p at 30");
    assert!(is_near(unknown(&|encode| encode.most_size = Some((1280, 720))), cpu(27.648, 0.010)));
    assert!(is_near(unknown(&|encode| encode.most_frame_rate = Some(15)), cpu(31.104, 0.010)));
    assert!(is_near(unknown(&|encode| encode.codec = "hevc"), cpu(62.208, 0.030)));
    assert!(is_near(unknown(&|encode| encode.preset = "p7".to_owned()), cpu(62.208, 0.60)), "as the dearest");
}

#[test]
fn settings_that_cannot_work_are_refused_by_name() {
    let refused = |change: &dyn Fn(&mut MeasuredAdmission)| {
        let mut admission = MeasuredAdmission::default();
        change(&mut admission);
        match admission.check() {
            Err(Error::Config { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    };
    let lower = |lower: CheaperEncoding| WhenFull::Lower(vec![lower]);
    for share in [0.0, -0.1, 1.1, f64::NAN] {
        assert_eq!(refused(&|admission| admission.cpu = Some(share)), "admission.cpu");
        assert_eq!(
            refused(&|admission| admission.memory = Some(MemoryBudget::Share(share))),
            "admission.memory"
        );
    }
    assert_eq!(refused(&|admission| admission.memory = Some(MemoryBudget::Bytes(0))), "admission.memory");
    assert_eq!(refused(&|admission| admission.uplink = Some(BitRate::ZERO)), "admission.uplink");
    assert_eq!(refused(&|admission| admission.settling = Duration::ZERO), "admission.settling");
    for when_full in [
        WhenFull::Queue(Duration::ZERO),
        WhenFull::Queue(Duration::from_secs(3601)),
        WhenFull::Lower(Vec::new()),
        lower(CheaperEncoding::default()),
        lower(CheaperEncoding::default().with(|lower| lower.size = Some((360, 640)))),
        lower(CheaperEncoding::default().with(|lower| lower.size = Some((641, 360)))),
        lower(CheaperEncoding::default().with(|lower| lower.frame_rate = Some(0.5))),
        lower(CheaperEncoding::default().with(|lower| lower.preset = Some("quick".to_owned()))),
        lower(CheaperEncoding::default().with(|lower| lower.video_bit_rate = Some(BitRate::from_kbps(1)))),
    ] {
        assert_eq!(refused(&|admission| admission.when_full = when_full.clone()), "admission.when_full");
    }
    for change in [
        (|costs: &mut Costs| costs.encode.clear()) as fn(&mut Costs),
        |costs| costs.encode[0].cpu_per_megapixel = 0.0,
        |costs| costs.push.cpu = -1.0,
        |costs| costs.other_codecs = f64::INFINITY,
        |costs| costs.frame_rate = 0,
        |costs| costs.bit_rate = BitRate::ZERO,
    ] {
        assert_eq!(refused(&|admission| change(&mut admission.costs)), "admission.costs");
    }
}

#[cfg(feature = "serde")]
#[test]
fn settings_are_read_as_they_are_written() {
    let admission = MeasuredAdmission::default().with(|admission| {
        admission.memory = Some(MemoryBudget::Bytes(4_000_000_000));
        admission.uplink = Some(BitRate::from_kbps(900_000));
        admission.when_full = WhenFull::Lower(vec![
            CheaperEncoding::default()
                .with(|lower| (lower.size, lower.frame_rate) = (Some((1280, 720)), Some(25.0))),
        ]);
    });
    let text = serde_json::to_string(&admission).expect("it can be written");
    assert_eq!(serde_json::from_str::<MeasuredAdmission>(&text).expect("and read"), admission);
    let by_hand = r#"{"uplink": "900M", "when_full": {"queue": "30s"}, "costs": {"reel": {"cpu": 0.001}, "size": "1280x720"}}"#;
    let read: MeasuredAdmission = serde_json::from_str(by_hand).expect("it can be read");
    assert_eq!(read.when_full, WhenFull::Queue(30 * SECOND));
    assert_eq!((read.uplink, read.cpu), (Some(BitRate::from_mbps(900.0)), Some(0.9)));
    assert_eq!((read.costs.size, read.costs.reel.cpu, read.costs.push.cpu), ((1280, 720), 0.001, 0.0015));
    let chain = r#"{"when_full": {"lower": [{"size": "854x480", "video_bit_rate": "1200k"}]}, "memory": {"share": 0.5}}"#;
    let chain: MeasuredAdmission = serde_json::from_str(chain).expect("it can be read");
    let lower = CheaperEncoding::default().with(|lower| {
        (lower.size, lower.video_bit_rate) = (Some((854, 480)), Some(BitRate::from_kbps(1200)))
    });
    assert_eq!(chain.when_full, WhenFull::Lower(vec![lower]));
    assert_eq!(chain.memory, Some(MemoryBudget::Share(0.5)));
    let unknown = serde_json::from_str::<MeasuredAdmission>(r#"{"cpus": 0.5}"#).expect_err("no such field");
    assert!(unknown.to_string().contains("cpus"), "{unknown}");
}

#[derive(Debug, Clone)]
enum Step {
    Start { kind: usize },
    Stop { which: usize },
    Measure { cpu: f64, factor: f64, is_settled: bool },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..4usize).prop_map(|kind| Step::Start { kind }),
        2 => (0..64usize).prop_map(|which| Step::Stop { which }),
        1 => (0.0..2.0f64, 0.0..1.0f64, any::<bool>())
            .prop_map(|(cpu, factor, is_settled)| Step::Measure { cpu, factor, is_settled }),
    ];
    prop::collection::vec(step, 1..80)
}

proptest! {
    /// Whatever comes in which order: a start that is admitted leaves every resource within its budget, one that is refused would not have,
    /// and what is given back is free.
    #[test]
    fn a_start_that_is_admitted_never_leaves_a_budget_exceeded(steps in steps()) {
        let kinds =
            [encode((640, 360), "ultrafast"), encode((1280, 720), "ultrafast"), encode((640, 360), "slow"), reel(2)];
        let mut ledger = ledger(|admission| admission.uplink = Some(BitRate::from_mbps(60.0)));
        let mut running: Vec<(Slot, Ask)> = Vec::new();
        let mut last = measured();
        for step in steps {
            match step {
                Step::Start { kind } => match take(&mut ledger, &kinds[kind]) {
                    Ok(slot) => {
                        running.push((slot, kinds[kind].clone()));
                        for used in ledger.uses() {
                            // What the new one does not need may be exceeded by others.
                            let is_needed = used.resource != Resource::Memory || kinds[kind] == kinds[3];
                            prop_assert!(!is_needed || used.used <= used.budget * (1.0 + 1e-9) + 1e-9, "{:?}", used);
                        }
                    }
                    Err(short) => prop_assert!(short.missing() > 0.0 && short.needed > 0.0, "{:?}", short),
                },
                Step::Stop { which } => {
                    if !running.is_empty() {
                        let (slot, _) = running.swap_remove(which % running.len());
                        let before = used(&ledger, Resource::Cpu);
                        ledger.give_back(slot);
                        prop_assert!(used(&ledger, Resource::Cpu) <= before);
                    }
                }
                Step::Measure { cpu, factor, is_settled } => {
                    last = Measured { cpu, ..measured() };
                    let readings: HashMap<_, _> = running
                        .iter()
                        .map(|(slot, ask)| {
                            let expected = ledger.needs(ask).map_or(0.0, |needs| needs.cpu);
                            (*slot, reading(ask, expected * factor, SETTLED.filter(|_| is_settled)))
                        })
                        .collect();
                    ledger.measure(last, &readings);
                }
            }
        }
        for (slot, _) in running {
            ledger.give_back(slot);
        }
        prop_assert!(is_near(used(&ledger, Resource::Cpu), last.cpu));
    }
}
