//! The floors: the same bytes at the same time with as little around them as there can be, and libx264 by itself.
//!
//! In: a job. Out: figures, until the input ends. A thread per stream, as flowcast has; for players one loop.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flowcast::av::encoder::{RateControl, VideoEncoder, VideoSettings};
use flowcast::av::{DecoderOptions, Demuxer, Interrupt, OpenOptions, Packet, Ratio, VideoDecoder};
use flowcast_bench::clip::{Messages, TICK, Ticks};
use flowcast_bench::writer::Writer;
use flowcast_bench::{process, tls};

use crate::Result;
use crate::case::Kind;
use crate::kinds;
use crate::media::{FPS, GOP_FRAMES, HEIGHT, WIDTH};
use crate::side::{Figures, Job, serve, tell, wait_until};

const STACK: usize = 64 << 10;
/// Pictures libx264 is given at a time.
const BURST: u64 = FPS as u64;

/// What the threads have done.
#[derive(Debug, Default)]
struct Done {
    bytes: AtomicU64,
    micros: AtomicU64,
    lost: AtomicU64,
}

impl Done {
    fn add(&self, bytes: usize, media: Duration) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.micros.fetch_add(u64::try_from(media.as_micros()).unwrap_or(0), Ordering::Relaxed);
    }

    fn figures(&self, cpu: Duration) -> Figures {
        Figures {
            cpu,
            seconds: self.micros.load(Ordering::Relaxed) as f64 / 1e6,
            bytes: self.bytes.load(Ordering::Relaxed),
            lost: self.lost.load(Ordering::Relaxed),
        }
    }
}

pub(crate) fn run(job: &Job) -> Result<()> {
    let done = Arc::new(Done::default());
    match job.case.kind {
        Kind::Reel | Kind::Direct | Kind::Rtmps => {
            let roots = if job.case.kind.is_tls() { Some(tls::client(&job.authority())?) } else { None };
            let writers = (0..job.case.streams).map(|_| Writer::connect(job.to, roots.clone()));
            write(writers.collect::<Result<_>>()?, Ticks::load(&job.tags())?, &done)?;
        }
        Kind::Restreamed => relay(job.case.streams, job.to, &done)?,
        Kind::Played => {
            let writes = Messages::load(&job.tags())?;
            fan(job.case.streams, &writes, &done)?;
        }
        Kind::Encoded => return encode(job),
    }
    serve(|| done.figures(process::cpu_time()));
    Ok(())
}

/// Starts a thread for each writer, which sleeps to its tick and writes the bytes of that tick with one call.
fn write(writers: Vec<Writer>, ticks: Ticks, done: &Arc<Done>) -> Result<()> {
    let (began, count, ticks) = (Instant::now(), writers.len() as f64, Arc::new(ticks));
    for (number, mut writer) in writers.into_iter().enumerate() {
        let (ticks, done) = (ticks.clone(), done.clone());
        let mut next = began + TICK.mul_f64(number as f64 / count);
        std::thread::Builder::new().stack_size(STACK).spawn(move || {
            for bytes in ticks.bytes.iter().cycle() {
                next += TICK;
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
                if writer.write(bytes).is_err() {
                    done.lost.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                done.add(bytes.len(), TICK);
            }
        })?;
    }
    Ok(())
}

/// Writes ticks to `to` for ever; for the parent, which publishes to a relay.
pub(crate) fn publish(streams: usize, to: SocketAddr, ticks: Ticks) -> Result<()> {
    let writers = (0..streams).map(|_| Writer::connect(to, None)).collect::<Result<_>>()?;
    write(writers, ticks, &Arc::default())
}

/// Takes this many connections, and for each starts a thread that writes to a connection of its own whatever it reads.
fn relay(streams: usize, to: SocketAddr, done: &Arc<Done>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    tell("address", listener.local_addr()?);
    let began = Instant::now();
    for _ in 0..streams {
        let (mut from, _) = listener.accept()?;
        let mut writer = Writer::connect(to, None)?;
        let done = done.clone();
        std::thread::Builder::new().stack_size(4 * STACK).spawn(move || {
            let mut buffer = vec![0; 2 * STACK];
            while let Ok(count @ 1..) = from.read(&mut buffer)
                && writer.write(buffer.get(..count).unwrap_or_default()).is_ok()
            {
                done.add(count, Duration::ZERO);
            }
            done.lost.fetch_add(1, Ordering::Relaxed);
        })?;
    }
    // It knows nothing of media: the clock of those who publish is that of the machine.
    let done = done.clone();
    serve(|| {
        let seconds = began.elapsed().as_secs_f64() * streams as f64;
        Figures { seconds, ..done.figures(process::cpu_time()) }
    });
    Ok(())
}

/// Takes connections, and writes each tick to all of them in one loop; back once there are as many as are asked for. They are
/// written to from the first on: more come once those before them have seen something.
fn fan(players: usize, messages: &Messages, done: &Arc<Done>) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    tell("address", listener.local_addr()?);
    let (lap_length, writes) = (messages.lap, messages.merged(TICK));
    let (done, count) = (done.clone(), Arc::new(AtomicU64::new(0)));
    let counted = count.clone();
    std::thread::Builder::new().spawn(move || {
        let mut sockets: Vec<TcpStream> = Vec::new();
        let mut lap = Instant::now();
        loop {
            let mut before = Duration::ZERO;
            for (at, bytes) in &writes {
                std::thread::sleep((lap + *at).saturating_duration_since(Instant::now()));
                while sockets.len() < players
                    && let Ok((socket, _)) = listener.accept()
                {
                    if socket.set_nonblocking(false).and_then(|()| socket.set_nodelay(true)).is_err() {
                        done.lost.fetch_add(1, Ordering::Relaxed);
                    }
                    sockets.push(socket);
                    counted.fetch_add(1, Ordering::Relaxed);
                }
                for socket in &mut sockets {
                    if socket.write_all(bytes).is_err() {
                        done.lost.fetch_add(1, Ordering::Relaxed);
                    }
                    done.add(bytes.len(), *at - before);
                }
                before = *at;
            }
            lap += lap_length;
        }
    })?;
    wait_until("all players are there", || count.load(Ordering::Relaxed) == players as u64)
}

/// libx264, with the settings of the kind's profile: what it alone uses of the CPU while it is given the clip's pictures, a
/// second of them each second. Decoding them is not counted.
fn encode(job: &Job) -> Result<()> {
    let frames = Arc::new(AtomicU64::new(0));
    let nanos = Arc::new(AtomicU64::new(0));
    let (tell_settings, settings) = std::sync::mpsc::channel();
    let (given, used, clip) = (frames.clone(), nanos.clone(), job.clip());
    std::thread::Builder::new().spawn(move || {
        let began = Instant::now();
        loop {
            let encoded = lap(&clip, |packet, cpu, pictures| {
                if let Some(settings) = kinds::x264_settings(&packet.data) {
                    let _ = tell_settings.send(settings);
                }
                used.fetch_add(u64::try_from(cpu.as_nanos()).unwrap_or(0), Ordering::Relaxed);
                let number = given.fetch_add(pictures, Ordering::Relaxed);
                if number.is_multiple_of(BURST) {
                    let due = began + Duration::from_secs(number / BURST);
                    std::thread::sleep(due.saturating_duration_since(Instant::now()));
                }
            });
            if let Err(error) = encoded {
                eprintln!("libx264: {error}");
                return;
            }
        }
    })?;
    tell("settings", settings.recv()?);
    wait_until("pictures", || frames.load(Ordering::Relaxed) > 0)?;
    serve(|| Figures {
        cpu: Duration::from_nanos(nanos.load(Ordering::Relaxed)),
        seconds: frames.load(Ordering::Relaxed) as f64 / f64::from(FPS),
        bytes: 0,
        lost: 0,
    });
    Ok(())
}

/// One lap of the clip through a decoder and an encoder; hands out each packet, what the encoder used for it, and how many
/// pictures it was given.
fn lap(clip: &std::path::Path, mut on_packet: impl FnMut(&Packet, Duration, u64)) -> Result<()> {
    let mut input = Demuxer::open(clip, &OpenOptions::default(), &Interrupt::new())?;
    let track = input.media().video().ok_or("no picture")?.clone();
    input.select(&[track.index]);
    let mut decoder = VideoDecoder::open(&track, &DecoderOptions::default())?;
    let mut encoder = VideoEncoder::open(0, &settings())?;
    let mut place = 0;
    loop {
        let packet = input.read()?;
        match &packet {
            Some(packet) => decoder.push(packet)?,
            None => decoder.finish()?,
        }
        while let Some(mut frame) = decoder.pull()? {
            frame.set_pts(Some(place));
            place += 1;
            let before = process::thread_cpu_time();
            encoder.push_frame(&frame, false)?;
            let packet = encoder.pull()?;
            let used = process::thread_cpu_time().saturating_sub(before);
            let packet = packet.ok_or("an encoder that waits for more pictures")?;
            on_packet(&packet, used, 1);
        }
        if packet.is_none() {
            return Ok(());
        }
    }
}

/// Those of `Profile::Ultra`. That they are the same is checked by what libx264 writes of them into the stream.
fn settings() -> VideoSettings {
    VideoSettings {
        encoder: Some("libx264".to_owned()),
        rate_control: RateControl::Cbr { bit_rate: 1_500_000, vbv_bits: 500_000, filler: false },
        gop_frames: GOP_FRAMES,
        preset: "ultrafast".to_owned(),
        tune: Some("zerolatency".to_owned()),
        profile: Some("baseline".to_owned()),
        x264_params: Some("vbv-init=0.6".to_owned()),
        ..VideoSettings::new(WIDTH, HEIGHT, Ratio { num: FPS, den: 1 })
    }
}
