//! What must not be lost on the way from an input to an output by copying: captions in the picture, splices and metadata. And what cannot be
//! carried is named, and ends nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flowcast::av::{Demuxer, Interrupt, OpenOptions};
use flowcast::{EventKind, Output, RtmpServerExt, Source};

use kit::rig::{both_ways, engine, wait_event};
use kit::{
    Need, PATIENCE, Peer, Web, decode, directory, frame_hashes, make, need, packet_times, text, wait_until,
};

/// Frames per second, of the captions' clock.
const RATE: usize = 30;
const SECONDS: usize = 12;

/// The two bytes of line 21 for each frame: a caption every two seconds, "ITEM A" and so on.
fn line_21() -> Vec<[u8; 2]> {
    let mut pairs = vec![[0x80, 0x80]; RATE * SECONDS];
    for number in 0..SECONDS / 2 {
        let words = format!("ITEM {} ", char::from(b'A' + u8::try_from(number).expect("a small number")));
        // Pop-on captions, an empty memory, row 15, the words, and the end of the caption; controls come twice.
        let controls = |code: [u8; 2]| [code, code];
        let mut code: Vec<[u8; 2]> =
            [[0x14, 0x20], [0x14, 0x2E], [0x14, 0x70]].into_iter().flat_map(controls).collect();
        code.extend(words.as_bytes().chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(b' ')]));
        code.extend(controls([0x14, 0x2F]));
        for (place, code) in pairs.iter_mut().skip(number * 2 * RATE + 5).zip(code) {
            *place = code.map(|byte| if byte.count_ones() % 2 == 0 { byte | 0x80 } else { byte });
        }
    }
    pairs
}

/// The SEI unit with two bytes of line 21: ATSC A/53 part 4, section 6.2.
fn sei([first, second]: [u8; 2]) -> Vec<u8> {
    let data = [0xB5, 0, 0x31, b'G', b'A', b'9', b'4', 3, 0xC1, 0xFF, 0xFC, first, second, 0xFF];
    let mut unit = vec![0, 0, 0, 1, 6, 4, u8::try_from(data.len()).expect("a few bytes")];
    unit.extend(data);
    unit.push(0x80);
    unit
}

/// A clip with captions in its picture, and with sound.
fn captioned(directory: &Path) -> PathBuf {
    let plain = make(
        directory,
        "plain.h264",
        &format!(
            "-f lavfi -i testsrc2=size=160x120:rate={RATE}:duration={SECONDS} -c:v libx264 -preset ultrafast -g 30 -bf 0 \
             -pix_fmt yuv420p -f h264"
        ),
    );
    let plain = fs::read(plain).expect("it was made");
    let (mut with, mut pairs, mut from) = (Vec::new(), line_21().into_iter(), 0);
    let starts: Vec<_> = plain.windows(4).enumerate().filter(|(_, four)| four[..3] == [0, 0, 1]).collect();
    for (at, four) in starts {
        // A slice that begins with the first macroblock begins a picture.
        let begins =
            matches!(four[3] & 0x1F, 1 | 5) && plain.get(at + 4).is_some_and(|byte| byte & 0x80 != 0);
        if begins {
            let at = if at > 0 && plain[at - 1] == 0 { at - 1 } else { at };
            with.extend(&plain[from..at]);
            with.extend(sei(pairs.next().expect("a pair for each frame")));
            from = at;
        }
    }
    with.extend(&plain[from..]);
    assert!(pairs.next().is_none(), "each frame has its pair");
    let raw = directory.join("captioned.h264");
    fs::write(&raw, with).expect("there is room");
    make(
        directory,
        "captioned.mp4",
        &format!(
            "-r {RATE} -f h264 -i {} -f lavfi -i sine=duration={SECONDS} -map 0:v -map 1:a -c:v copy -c:a aac",
            text(&raw)
        ),
    )
}

/// The words of the captions in a file, as `ffmpeg` finds them.
fn words(file: &Path) -> Vec<String> {
    let source = format!("movie={}[out0+subcc]", text(file));
    let arguments =
        ["-v", "error", "-nostdin", "-f", "lavfi", "-i", &source, "-map", "0:s", "-f", "srt", "-"];
    let mut ffmpeg = Peer::spawn(Path::new("ffmpeg"), arguments);
    ffmpeg.wait_success(PATIENCE);
    let found = ffmpeg.output();
    let words = found.lines().filter_map(|line| line.find("ITEM ").map(|at| line[at..at + 6].to_owned()));
    words.collect()
}

#[test]
fn captions_survive_a_push_a_server_another_push_and_a_recording() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let clip = captioned(own.path());
    let sent = words(&clip);
    assert_eq!(sent, ["ITEM A", "ITEM B", "ITEM C", "ITEM D", "ITEM E", "ITEM F"], "what was made");
    // Three engines, as on three machines: one that loops, one that restreams, one that records.
    let engines = [(); 3].map(|()| engine(|config| config.backlog.keep = Duration::from_secs(60)));
    let servers = [&engines[1], &engines[2]].map(|engine| {
        engine.keys().add("show", "show-key").expect("a usable key");
        engine.rtmp_server("127.0.0.1:0").start().expect("a free port")
    });
    let push =
        |server: usize| Output::rtmp_url(&format!("rtmp://{}/live/show-key", servers[server].address()));
    let ends = ["mp4", "ts", "mkv", "flv"].map(|extension| own.path().join(format!("end.{extension}")));
    let last =
        ends.iter().fold(engines[2].stream(Source::published("show").once()), |to, end| to.record(end));
    let last = last.start().expect("it waits");
    let middle = engines[1].stream(Source::published("show").once()).to(push(1)).start().expect("it waits");
    let first = engines[0].stream(Source::file(&clip)).to(push(0)).start().expect("it starts");
    let clipped = own.path().join("clip.mp4");
    assert!(wait_until(PATIENCE * 2, || last.stats().media_time.as_millis() >= 9000), "{}", last.stats());
    last.clip(&clipped, Duration::from_secs(60), PATIENCE).expect("it is kept");
    // From a keyframe that the stream still had, four captions on.
    let clipped = words(&clipped);
    assert!(sent.windows(4).any(|four| clipped.starts_with(four)), "the clip: {clipped:?}");
    first.wait().expect("it is complete");
    for stream in [middle, last] {
        stream.wait().expect("it ends with its publisher");
    }
    for end in &ends {
        let decoded = decode(end);
        assert!(decoded.complaints.is_empty(), "{}: {}", end.display(), decoded.complaints);
        assert_eq!(words(end), sent, "{}", end.display());
    }
}

/// A packet of a transport stream.
fn packet(pid: u16, begins: bool, counter: u8, payload: &[u8]) -> [u8; 188] {
    let mut packet = [0xFF; 188];
    let [high, low] = pid.to_be_bytes();
    packet[..4].copy_from_slice(&[0x47, high | u8::from(begins) << 6, low, 0x10 | counter & 15]);
    packet[4..4 + payload.len()].copy_from_slice(payload);
    packet
}

/// CRC-32 of sections: ISO/IEC 13818-1, annex A.
fn crc(bytes: &[u8]) -> [u8; 4] {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte) << 24, |crc, _| {
            if crc >> 31 == 1 { crc << 1 ^ 0x04C1_1DB7 } else { crc << 1 }
        })
    };
    bytes.iter().fold(u32::MAX, step).to_be_bytes()
}

const CUES: u16 = 0x1F0;
const METADATA: u16 = 0x1F1;

/// The stream with two more: splice information (SCTE 35) once a second, and KLV metadata (SMPTE ST 336).
fn with_cues(plain: &[u8]) -> Vec<u8> {
    let mut with = Vec::new();
    let mut pmt_pid = None;
    let mut counter = 0_u8;
    for (number, part) in plain.chunks_exact(188).enumerate() {
        let pid = u16::from_be_bytes([part[1] & 0x1F, part[2]]);
        let begins = part[1] & 0x40 != 0;
        if pid == 0 && begins {
            // One programme: its map is named behind its number.
            pmt_pid = Some(u16::from_be_bytes([part[15] & 0x1F, part[16]]));
        }
        if Some(pid) == pmt_pid && begins {
            let section = &part[5..];
            let length = usize::from(u16::from_be_bytes([section[1] & 0x0F, section[2]]));
            let info = usize::from(u16::from_be_bytes([section[10] & 0x0F, section[11]]));
            let mut map = section[..10].to_vec();
            let registration = |name: &[u8; 4]| [&[5, 4], &name[..]].concat();
            let cue = registration(b"CUEI");
            let all = u16::try_from(info + cue.len()).expect("short").to_be_bytes();
            map.extend([0xF0 | all[0], all[1]]);
            map.extend(&section[12..12 + info]);
            map.extend(cue);
            map.extend(&section[12 + info..3 + length - 4]);
            for (kind, pid, about) in [(0x86, CUES, Vec::new()), (6, METADATA, registration(b"KLVA"))] {
                let [high, low] = pid.to_be_bytes();
                map.extend([kind, 0xE0 | high, low, 0xF0, u8::try_from(about.len()).expect("short")]);
                map.extend(about);
            }
            let length = u16::try_from(map.len() + 4 - 3).expect("short").to_be_bytes();
            (map[1], map[2]) = (0xB0 | length[0], length[1]);
            let sum = crc(&map);
            map.extend(sum);
            with.extend(packet(pid, true, part[3] & 15, &[&[0], &map[..]].concat()));
        } else {
            with.extend(part);
        }
        if number % 40 == 39 {
            // A splice_null, and a value of a key that is not known.
            let mut cue = vec![0xFC, 0x30, 0x11, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xF0, 0, 0, 0, 0];
            cue[2] = u8::try_from(cue.len() + 4 - 3).expect("short");
            let sum = crc(&cue);
            cue.extend(sum);
            with.extend(packet(CUES, true, counter, &[&[0], &cue[..]].concat()));
            let klv: Vec<u8> = (0..16).chain([4, 1, 2, 3, 4]).collect();
            let size = u16::try_from(klv.len() + 3).expect("short").to_be_bytes();
            let mut metadata = vec![0, 0, 1, 0xBD, size[0], size[1], 0x80, 0, 0];
            metadata.extend(klv);
            // What is left of the packet is stuffing in front.
            let stuffing = 184 - metadata.len();
            let mut field = vec![0xFF; stuffing];
            (field[0], field[1]) = (u8::try_from(stuffing - 1).expect("short"), 0);
            let mut packet = packet(METADATA, true, counter, &[&field[..], &metadata].concat());
            packet[3] |= 0x20;
            with.extend(packet);
            counter = counter.wrapping_add(1);
        }
    }
    with
}

/// A transport stream of four seconds without data, and the same with it.
fn cued(directory: &Path) -> (PathBuf, PathBuf) {
    let plain = make(
        directory,
        "plain.ts",
        "-f lavfi -i testsrc2=size=160x120:rate=25:duration=4 -f lavfi -i sine=duration=4 -c:v libx264 -preset ultrafast -g 25 \
         -pix_fmt yuv420p -c:a aac",
    );
    let file = directory.join("cues.ts");
    fs::write(&file, with_cues(&fs::read(&plain).expect("it was made"))).expect("there is room");
    (plain, file)
}

/// The packets of data of a codec in a file.
fn data_of(file: &Path, codec: &str) -> Vec<Vec<u8>> {
    let mut input = Demuxer::open(file, &OpenOptions::default(), &Interrupt::new()).expect("it opens");
    let track =
        input.media().tracks.iter().find(|track| track.codec.name() == codec).map(|track| track.index);
    let Some(track) = track else { return Vec::new() };
    input.select(&[track]);
    std::iter::from_fn(|| input.read().expect("it reads")).map(|packet| packet.data.to_vec()).collect()
}

/// What a splice adds to its times.
fn adjustment(section: &[u8]) -> i64 {
    i64::from(section[4] & 1) << 32
        | i64::from(u32::from_be_bytes(section[5..9].try_into().expect("four bytes")))
}

#[test]
fn splice_information_and_metadata_go_from_transport_stream_to_transport_stream() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let (plain, file) = cued(own.path());
    let [cues, values] = ["scte_35", "klv"].map(|codec| data_of(&file, codec));
    assert!(cues.len() > 3 && values.len() > 3, "{} cues, {} values", cues.len(), values.len());
    both_ways(|mode, engine, directory| {
        let events = engine.events();
        let [end, other] = ["ts", "mp4"].map(|extension| directory.join(format!("end.{extension}")));
        let live = engine
            .stream(Source::file(&file).all_tracks())
            .to(Output::record(&end).all_tracks())
            .to(Output::record(&other).all_tracks())
            .start()
            .expect("it starts");
        let reason = wait_event(&events, PATIENCE, |event| match &event.kind {
            EventKind::OutputTrackSkipped { reason, .. } => Some(reason.clone()),
            _ => None,
        });
        assert!(reason.ends_with(": scte_35, klv"), "{mode}: {reason}");
        live.wait().expect("it is complete");
        for end in [&end, &other] {
            assert_eq!(frame_hashes(end), frame_hashes(&plain), "{mode} {}: every picture", end.display());
        }
        // Not what comes before the first picture.
        let (sent, got) = (data_of(&end, "scte_35"), data_of(&end, "klv"));
        for (got, all) in [(sent.len(), cues.len()), (got.len(), values.len())] {
            assert!(got <= all && got + 2 >= all, "{mode}: {got} of {all}");
        }
        assert!(values.ends_with(&got), "{mode}");
        // What is spliced at is moved as the pictures are, and nothing else is changed.
        let moved = packet_times(&end, "v")[0].pts - packet_times(&file, "v")[0].pts;
        for (sent, cue) in sent.iter().zip(&cues[cues.len() - sent.len()..]) {
            let by = adjustment(sent) - adjustment(cue);
            let by = if by > 1 << 32 { by - (1 << 33) } else { by };
            assert!((by as f64 / 90.0 - moved).abs() < 3.0, "{mode}: {by} ticks, pictures {moved} ms");
            let rest = |section: &[u8]| [&section[..4], &section[9..section.len() - 4]].concat();
            assert_eq!((rest(sent), crc(sent)), (rest(cue), [0; 4]), "{mode}");
        }
        assert!(data_of(&other, "scte_35").is_empty(), "{mode}");
    });
}

#[test]
fn a_transport_stream_with_splice_information_and_metadata_is_played_and_says_what_it_leaves_out() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let (plain, file) = cued(own.path());
    both_ways(|mode, engine, directory| {
        let events = engine.events();
        let end = directory.join("end.ts");
        let live = engine.stream(Source::file(&file)).record(&end).start().expect("it starts");
        let mut left_out = Vec::new();
        while left_out.len() < 2 {
            left_out.push(wait_event(&events, PATIENCE, |event| match &event.kind {
                EventKind::TrackSkipped { reason, .. } => Some(reason.clone()),
                _ => None,
            }));
        }
        left_out.sort();
        assert_eq!(
            left_out,
            ["data tracks are not sent: klv", "data tracks are not sent: scte_35"],
            "{mode}"
        );
        live.wait().expect("it is complete");
        assert_eq!(frame_hashes(&end), frame_hashes(&plain), "{mode}: every picture");
    });
}

#[test]
fn so_do_those_of_a_transport_stream_that_is_pulled() {
    if !need(&[Need::Ffmpeg]) {
        return;
    }
    let own = directory();
    let (_, file) = cued(own.path());
    let web = Web::start(own.path());
    let engine = engine(|_| {});
    let end = own.path().join("end.ts");
    let source = Source::url(&web.url("/cues.ts")).once().all_tracks();
    let live = engine.stream(source).to(Output::record(&end).all_tracks()).start().expect("it starts");
    assert!(wait_until(PATIENCE, || live.has_ended()), "{}", live.stats());
    let moved = packet_times(&end, "v")[0].pts - packet_times(&file, "v")[0].pts;
    for codec in ["scte_35", "klv"] {
        let (sent, got) = (data_of(&file, codec), data_of(&end, codec));
        // Not what comes before the first picture.
        assert!(got.len() + 2 >= sent.len(), "{codec}: {} of {}", got.len(), sent.len());
        for (got, sent) in got.iter().zip(&sent[sent.len() - got.len()..]) {
            if codec == "klv" {
                assert_eq!(got, sent);
                continue;
            }
            let by = adjustment(got) - adjustment(sent);
            let by = if by > 1 << 32 { by - (1 << 33) } else { by };
            assert!((by as f64 / 90.0 - moved).abs() < 3.0, "{by} ticks, pictures {moved} ms");
        }
    }
}
