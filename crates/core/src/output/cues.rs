//! Timed data in a transport stream: splice information and KLV, beside what libav writes.
//!
//! In: the packets of libav's muxer, and packets of data. Out: the same with the data's tracks in the programme's map, and its packets among them.
//! libav has no form for splice information when it writes. ISO/IEC 13818-1, sections 2.4.4 and 2.6; ANSI/SCTE 35, section 8; MISB ST 1402 for
//! KLV without times. On the thread that writes.

use flowcast_rtmp::flv::data::DataCodec;

use super::media::Cue;

/// A packet of a transport stream.
const PACKET: usize = 188;
/// The first PID of data; libav counts from 0x100.
const FIRST_PID: u16 = 0x1F0;
const NO_PROGRAM: u16 = 0;
/// Stream types, and the identifiers of registration descriptors.
const SCTE_35: (u8, &[u8; 4]) = (0x86, b"CUEI");
const KLV: (u8, &[u8; 4]) = (6, b"KLVA");
const REGISTRATION: u8 = 5;
/// Times have this many bits.
const CLOCK: u64 = (1 << 33) - 1;
/// A packet of data that is longer is left out.
const LONGEST: usize = 60_000;

/// Puts data into a transport stream.
#[derive(Debug)]
pub(super) struct Weaver {
    tracks: Vec<DataCodec>,
    /// The counter of each of them.
    counters: Vec<u8>,
    /// The PID of the programme's map, once it is known.
    map: Option<u16>,
    /// What is not a whole packet yet.
    rest: Vec<u8>,
    /// The first times to show of sound and of pictures that libav was given, in milliseconds; and what it adds to them, in ticks of 90 kHz.
    first_ms: [Option<i64>; 2],
    added: Option<i64>,
}

impl Weaver {
    /// For these tracks; `None` if there are none.
    pub(super) fn new(tracks: &[DataCodec]) -> Option<Self> {
        let (tracks, counters) = (tracks.to_vec(), vec![0; tracks.len()]);
        (!tracks.is_empty()).then_some(Self {
            tracks,
            counters,
            map: None,
            rest: Vec::new(),
            first_ms: [None; 2],
            added: None,
        })
    }

    /// libav is given a sample that is shown at `pts_ms`.
    pub(super) fn note(&mut self, is_video: bool, pts_ms: i64) {
        self.first_ms[usize::from(is_video)].get_or_insert(pts_ms);
    }

    /// What libav wrote, with the tracks in its maps.
    pub(super) fn weave(&mut self, written: &[u8]) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.rest);
        bytes.extend_from_slice(written);
        let whole = bytes.len() / PACKET * PACKET;
        self.rest = bytes.split_off(whole);
        for packet in bytes.chunks_exact_mut(PACKET) {
            let Some(place) = payload(packet) else { continue };
            let (pid, begins) = (pid(packet), packet.get(1).is_some_and(|byte| byte & 0x40 != 0));
            if !begins {
                continue;
            }
            if pid == 0 {
                self.map = self.map.or_else(|| program_map(packet.get(place..)?));
            } else if Some(pid) == self.map {
                let section =
                    packet.get(place..).and_then(section).and_then(|section| self.with_tracks(section));
                if let (Some(section), Some(room)) = (section, packet.get_mut(place..)) {
                    fill(room, &section);
                }
            } else if self.added.is_none() {
                self.added = packet.get(place..).and_then(|stream| {
                    let is_video = stream.get(3)? & 0xF0 == 0xE0;
                    Some(pts(stream)? - self.first_ms[usize::from(is_video)]? * 90)
                });
            }
        }
        bytes
    }

    /// The packets of a piece of data.
    pub(super) fn packets(&mut self, cue: &Cue) -> Vec<u8> {
        let (Some(codec), true) = (self.tracks.get(cue.track), (1..=LONGEST).contains(&cue.data.len()))
        else {
            return Vec::new();
        };
        let pid = pid_of(cue.track);
        let Some(counter) = self.counters.get_mut(cue.track) else { return Vec::new() };
        match codec {
            DataCodec::Scte35 => {
                let moved = match (self.added, cue.source_time) {
                    (Some(added), Some(source)) => cue.at_ms * 90 + added - source,
                    _ => 0,
                };
                let Some(section) = adjusted(&cue.data, moved) else { return Vec::new() };
                // Behind a pointer to its beginning, which is at once; what is left of the last packet is stuffing.
                let whole = [&[0], &section[..]].concat();
                let mut out = Vec::new();
                for (number, piece) in whole.chunks(PACKET - 4).enumerate() {
                    let mut packet = header(pid, number == 0, counter, true);
                    packet.extend_from_slice(piece);
                    packet.resize(PACKET, 0xFF);
                    out.extend(packet);
                }
                out
            }
            // Private stream 1, aligned, without times.
            _ => {
                let size = u16::try_from(cue.data.len() + 3).unwrap_or(0).to_be_bytes();
                let pes = [&[0, 0, 1, 0xBD, size[0], size[1], 0x84, 0, 0], &cue.data[..]].concat();
                let mut out = Vec::new();
                for (number, piece) in pes.chunks(PACKET - 4).enumerate() {
                    let stuffing = PACKET - 4 - piece.len();
                    let mut packet = header(pid, number == 0, counter, stuffing == 0);
                    if let Some(behind) = stuffing.checked_sub(1) {
                        // An adaptation field of nothing.
                        packet.push(u8::try_from(behind).unwrap_or(0));
                        if let Some(rest) = behind.checked_sub(1) {
                            packet.push(0);
                            packet.resize(packet.len() + rest, 0xFF);
                        }
                    }
                    packet.extend_from_slice(piece);
                    out.extend(packet);
                }
                out
            }
        }
    }

    /// The section of a map with the tracks; `None` if it is none.
    fn with_tracks(&self, section: &[u8]) -> Option<Vec<u8>> {
        if section.first() != Some(&2) {
            return None;
        }
        let info = usize::from(u16::from_be_bytes([section.get(10)? & 0x0F, *section.get(11)?]));
        let streams = section.get(12 + info..section.len().checked_sub(4)?)?;
        let mut made = section.get(..10)?.to_vec();
        let registration = |name: &[u8; 4]| [&[REGISTRATION, 4], &name[..]].concat();
        let has_cues = self.tracks.contains(&DataCodec::Scte35);
        let own = if has_cues { registration(SCTE_35.1) } else { Vec::new() };
        let [high, low] = u16::try_from(info + own.len()).ok()?.to_be_bytes();
        made.extend([0xF0 | high, low]);
        made.extend_from_slice(section.get(12..12 + info)?);
        made.extend(own);
        made.extend_from_slice(streams);
        for (track, codec) in self.tracks.iter().enumerate() {
            let [high, low] = pid_of(track).to_be_bytes();
            let (kind, about) = match codec {
                DataCodec::Scte35 => (SCTE_35.0, Vec::new()),
                _ => (KLV.0, registration(KLV.1)),
            };
            made.extend([kind, 0xE0 | high, low, 0xF0, u8::try_from(about.len()).unwrap_or(0)]);
            made.extend(about);
        }
        Some(closed(made))
    }
}

fn pid_of(track: usize) -> u16 {
    FIRST_PID + u16::try_from(track).unwrap_or(0)
}

fn pid(packet: &[u8]) -> u16 {
    let byte = |at: usize| packet.get(at).copied().unwrap_or(0);
    u16::from_be_bytes([byte(1) & 0x1F, byte(2)])
}

/// Where the payload of a packet begins, if it has one.
fn payload(packet: &[u8]) -> Option<usize> {
    let control = packet.get(3)? >> 4;
    let field = if control & 2 != 0 { usize::from(*packet.get(4)?) + 1 } else { 0 };
    (packet.first() == Some(&0x47) && control & 1 != 0).then_some(4 + field)
}

/// The section that begins behind the pointer.
fn section(payload: &[u8]) -> Option<&[u8]> {
    let section = payload.get(1 + usize::from(*payload.first()?)..)?;
    let length = usize::from(u16::from_be_bytes([section.get(1)? & 0x0F, *section.get(2)?]));
    section.get(..3 + length)
}

/// The PID of the first programme's map, of a programme association.
fn program_map(payload: &[u8]) -> Option<u16> {
    let section = section(payload)?;
    let programs = section.get(8..section.len().checked_sub(4)?)?.chunks_exact(4);
    let of = |bytes: &[u8]| match bytes {
        &[a, b, c, d] => (u16::from_be_bytes([a, b]), u16::from_be_bytes([c & 0x1F, d])),
        _ => (NO_PROGRAM, 0),
    };
    programs.map(of).find(|(program, _)| *program != NO_PROGRAM).map(|(_, map)| map)
}

/// The time to show that a packetised elementary stream begins with.
fn pts(payload: &[u8]) -> Option<i64> {
    let &[0, 0, 1, _, _, _, _, flags, _, a, b, c, d, e] = payload.first_chunk()? else { return None };
    let bits = |byte: u8, mask: u8, shift: u32| i64::from(byte & mask) << shift;
    let time =
        bits(a, 0x0E, 29) | bits(b, 0xFF, 22) | bits(c, 0xFE, 14) | bits(d, 0xFF, 7) | bits(e, 0xFE, 0) >> 1;
    (flags & 0x80 != 0).then_some(time)
}

/// Puts a section into the payload of one packet, if it fits.
fn fill(room: &mut [u8], section: &[u8]) {
    if section.len() < room.len() {
        room.fill(0xFF);
        let place = room.iter_mut().zip([&0_u8].into_iter().chain(section));
        place.for_each(|(to, from)| *to = *from);
    }
}

/// The first four bytes of a packet.
fn header(pid: u16, begins: bool, counter: &mut u8, is_full: bool) -> Vec<u8> {
    let [high, low] = pid.to_be_bytes();
    let control = if is_full { 0x10 } else { 0x30 };
    let header = vec![0x47, high | u8::from(begins) << 6, low, control | *counter & 0x0F];
    *counter = counter.wrapping_add(1);
    header
}

/// Splice information whose times are `moved` ticks later; `None` if it is none.
fn adjusted(section: &[u8], moved: i64) -> Option<Vec<u8>> {
    if section.first() != Some(&0xFC) {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([section.get(1)? & 0x0F, *section.get(2)?]));
    let mut made = section.get(..(3 + length).checked_sub(4)?)?.to_vec();
    let field: &mut [u8; 5] = made.get_mut(4..9)?.try_into().ok()?;
    let [first, rest @ ..] = *field;
    let before = u64::from(first & 1) << 32 | u64::from(u32::from_be_bytes(rest));
    // What is negative wraps, as the clock does.
    let after = before.wrapping_add(moved.cast_unsigned()) & CLOCK;
    let [.., high, a, b, c, d] = after.to_be_bytes();
    *field = [first & 0xFE | high, a, b, c, d];
    Some(closed(made))
}

/// A section of these bytes, with its length and its sum.
fn closed(mut section: Vec<u8>) -> Vec<u8> {
    let length = u16::try_from(section.len() + 4 - 3).unwrap_or(0).to_be_bytes();
    if let [_, high, low, ..] = &mut section[..] {
        (*high, *low) = (*high & 0xF0 | length[0] & 0x0F, length[1]);
    }
    let sum = crc(&section);
    section.extend(sum);
    section
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A splice_null.
    fn splice() -> Vec<u8> {
        closed(vec![0xFC, 0x30, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xF0, 0, 0, 0, 0])
    }

    fn cue(track: usize, data: Vec<u8>) -> Cue {
        Cue { track, at_ms: 1000, source_time: Some(90_000 * 7), data: data.into() }
    }

    #[test]
    fn times_of_splices_are_moved_with_the_stream_and_wrap() {
        let moved = adjusted(&splice(), -90_000).expect("it is one");
        assert_eq!(moved.len(), splice().len());
        assert_eq!(moved[4..9], [1, 0xFF, 0xFE, 0xA0, 0x70]);
        assert_eq!(crc(&moved), [0; 4], "the sum of all is none");
        assert_eq!(adjusted(&moved, 90_000), Some(splice()));
        assert_eq!(adjusted(&[0xFC, 0, 0], 0), None);
        assert_eq!(adjusted(&[2; 30], 0), None);
    }

    #[test]
    fn packets_are_whole_and_counted() {
        let mut weaver = Weaver::new(&[DataCodec::Scte35, DataCodec::Klv]).expect("two tracks");
        assert!(Weaver::new(&[]).is_none());
        for length in [1, 100, 174, 175, 176, 183, 184, 500, 2000] {
            let data: Vec<u8> = (0..length).map(|n| n as u8).collect();
            let packets = weaver.packets(&cue(1, data.clone()));
            assert_eq!(packets.len() % PACKET, 0, "{length}");
            let mut pes: Vec<u8> = Vec::new();
            for packet in packets.chunks(PACKET) {
                assert_eq!(pid(packet), FIRST_PID + 1);
                pes.extend(&packet[payload(packet).expect("it has one")..]);
            }
            assert_eq!(pes[9..], data, "{length}");
        }
        let first = weaver.packets(&cue(0, splice()));
        assert_eq!((first.len(), first[1] & 0x40, section(&first[4..])), (PACKET, 0x40, Some(&splice()[..])));
        assert_eq!(weaver.packets(&cue(0, splice()))[3] & 15, 1);
        for nothing in [cue(0, vec![]), cue(2, splice()), cue(0, vec![1, 2, 3]), cue(1, vec![0; LONGEST + 1])]
        {
            assert!(weaver.packets(&nothing).is_empty());
        }
    }

    #[test]
    fn tracks_are_put_into_the_map_wherever_the_pieces_are_cut() {
        let packet = |pid: u16, section: &[u8]| {
            let mut packet = header(pid, true, &mut 0, true);
            packet.push(0);
            packet.extend(section);
            packet.resize(PACKET, 0xFF);
            packet
        };
        let pat = closed(vec![0, 0xB0, 0, 0, 1, 0xC1, 0, 0, 0, 1, 0xF0, 0]);
        let pmt = closed(vec![2, 0xB0, 0, 0, 1, 0xC1, 0, 0, 0xE1, 0, 0xF0, 0, 0x1B, 0xE1, 0, 0xF0, 0]);
        let stream = [packet(0, &pat), packet(0x1000, &pmt)].concat();
        let mut weaver = Weaver::new(&[DataCodec::Scte35, DataCodec::Klv]).expect("two tracks");
        let mut woven = weaver.weave(&stream[..300]);
        woven.extend(weaver.weave(&stream[300..]));
        assert_eq!((woven.len(), &woven[..PACKET]), (stream.len(), &stream[..PACKET]));
        let map = section(&woven[PACKET + 4..]).expect("it is whole");
        assert_eq!(crc(map), [0; 4]);
        assert_eq!(map[10..18], [0xF0, 6, 5, 4, b'C', b'U', b'E', b'I']);
        assert_eq!(
            map[18..map.len() - 4],
            *b"\x1B\xE1\x00\xF0\x00\x86\xE1\xF0\xF0\x00\x06\xE1\xF1\xF0\x06\x05\x04KLVA"
        );
    }

    #[test]
    fn what_libav_adds_to_times_is_seen_in_its_first() {
        let time: i64 = 126_000;
        let byte = |shift: u32, mask: i64| u8::try_from(time >> shift & mask).expect("a byte");
        let stamp = [
            0x21 | byte(29, 0x0E),
            byte(22, 0xFF),
            1 | byte(14, 0xFE),
            byte(7, 0xFF),
            1 | u8::try_from(time << 1 & 0xFE).expect("a byte"),
        ];
        let pes = [&[0, 0, 1, 0xE0, 0, 0, 0x80, 0x80, 5], &stamp[..], &[7; 170]].concat();
        assert_eq!(pts(&pes), Some(time));
        let mut packet = header(0x100, true, &mut 0, true);
        packet.extend(pes);
        let mut weaver = Weaver::new(&[DataCodec::Scte35]).expect("a track");
        weaver.note(false, 7);
        weaver.note(true, 400);
        weaver.note(true, 440);
        weaver.weave(&packet);
        assert_eq!(weaver.added, Some(90_000));
        // The same second as 7 s of the source.
        let moved = weaver.packets(&cue(0, splice()));
        assert_eq!(section(&moved[4..]), adjusted(&splice(), 2 * 90_000 - 7 * 90_000).as_deref());
    }
}
