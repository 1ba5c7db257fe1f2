//! What is drawn over pictures, and filters: in what is sent, and refused where it cannot work.

use std::path::Path;
use std::time::Duration;

use flowcast::encode::FrameRate;
use flowcast::frames::{Frames, PixelFormat, VideoFormat, When};
use flowcast::overlay::{Anchor, Font, Overlay, TextStyle};
use flowcast::stats::SourceMode;
use flowcast::{Encoding, Engine, Error, EventKind, Mode, Output, Profile, Source, StreamHandle};
use kit::rig::{engine, engines, wait_event};
use kit::{Clip, PATIENCE, Peer, directory, make, text, turn, wait_until};

const WIDTH: usize = 320;
const HEIGHT: usize = 180;
const PICTURE: usize = WIDTH * HEIGHT * 3 / 2;

/// Pictures that do not depend on each other, and of which each part is encoded like before whatever is after it.
fn independent() -> Encoding {
    let mut encoding = Encoding::new(Profile::Ultra);
    encoding.x264_params = "keyint=1:qp=18:no-deblock=1:aq-mode=0:scenecut=0".to_owned();
    encoding
}

/// The pictures of a file, as planes without padding.
fn pictures(file: &Path) -> Vec<Vec<u8>> {
    let raw = file.with_extension("yuv");
    let arguments = ["-nostdin", "-v", "error", "-y", "-i", text(file), "-f", "rawvideo", text(&raw)];
    Peer::spawn(Path::new("ffmpeg"), arguments).wait_success(PATIENCE);
    std::fs::read(&raw).expect("it was written").chunks_exact(PICTURE).map(<[u8]>::to_vec).collect()
}

fn solid(width: u32, height: u32, pixel: [u8; 4]) -> Vec<u8> {
    pixel.repeat((width * height) as usize)
}

/// Loops a clip into a recording.
fn recorded(engine: &Engine, clip: &Path, encoding: Encoding, to: &Path) -> StreamHandle {
    let source = Source::file(clip).looped().mode(Mode::Encode).encoding(encoding);
    engine.stream(source).to(Output::record(to)).start().expect("it can be encoded")
}

/// Waits until it is some way beyond where it is.
fn goes_on(stream: &StreamHandle, by: Duration) {
    let reached = || Duration::from_millis(stream.stats().media_time.as_millis().try_into().unwrap_or(0));
    let until = reached() + by;
    assert!(wait_until(PATIENCE, || reached() >= until), "{:?}", stream.stats());
}

#[test]
fn an_overlay_is_where_it_is_asked_for_and_the_rest_is_encoded_bit_for_bit() {
    let _turn = turn();
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let red = Overlay::pixels(48, 32, solid(48, 32, [255, 0, 0, 255])).at(Anchor::BottomRight);
    let engine = engine(|_| {});
    let run = |name: &str, encoding: Encoding| {
        let file = directory.path().join(name);
        let stream = recorded(&engine, &clip, encoding, &file);
        goes_on(&stream, Duration::from_secs(2));
        stream.stop(PATIENCE).expect("it ends");
        pictures(&file)
    };
    let (plain, drawn) = (run("plain.flv", independent()), run("drawn.flv", independent().overlay(red)));
    let count = plain.len().min(drawn.len());
    assert!(count >= 40, "{} and {} pictures", plain.len(), drawn.len());
    // The corner begins on a block of 16 by 16 pixels in one direction and within one in the other.
    let (left, top) = (WIDTH - 48, (HEIGHT - 32) / 16 * 16);
    for (number, (plain, drawn)) in plain.iter().zip(&drawn).enumerate() {
        for (place, (one, other)) in plain.iter().zip(drawn).take(WIDTH * HEIGHT).enumerate() {
            let (x, y) = (place % WIDTH, place / WIDTH);
            if x < left || y < top {
                assert_eq!(one, other, "picture {number}, {x},{y}");
            } else if x >= left + 2 && y >= HEIGHT - 30 {
                assert!(other.abs_diff(81) <= 4, "picture {number}, {x},{y}: {other}");
            }
        }
        let half = WIDTH / 2;
        for (place, (one, other)) in plain.iter().zip(drawn).skip(WIDTH * HEIGHT).enumerate() {
            let (x, y) = (place % half * 2, place % (half * HEIGHT / 2) / half * 2);
            assert!(one == other || (x >= left && y >= top), "picture {number}, colours at {x},{y}");
        }
    }
}

#[test]
fn what_changes_on_the_air_shows_and_is_encoded_as_it_goes() {
    let _turn = turn();
    let directory = directory();
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    let file = directory.path().join("changed.flv");
    let red = Overlay::pixels(64, 64, solid(64, 64, [255, 0, 0, 255]));
    let [_, (_, reels)] = engines(directory.path());
    // What is read ahead is on the air before a change is.
    let direct = engine(|config| config.read_ahead.items = 50);
    // One that cannot change is encoded ahead.
    let still =
        recorded(&reels, &clip, independent().overlay(red.clone()), &directory.path().join("still.flv"));
    assert!(wait_until(PATIENCE, || still.stats().mode == SourceMode::Reel), "{}", still.stats());
    assert!(matches!(still.overlay("logo"), Err(Error::Config { .. })));
    drop(still);
    let named = recorded(
        &reels,
        &clip,
        independent().overlay(red.clone().named("logo")),
        &directory.path().join("named.flv"),
    );
    assert_eq!(named.stats().mode, SourceMode::Direct);
    drop(named);
    let stream = recorded(&direct, &clip, independent().overlay(red.named("logo")), &file);
    let logo = stream.overlay("logo").expect("it has a name");
    goes_on(&stream, Duration::from_secs(1));
    logo.set_pixels(64, 64, solid(64, 64, [0, 0, 255, 255])).expect("pixels");
    goes_on(&stream, Duration::from_secs(3));
    logo.hide();
    goes_on(&stream, Duration::from_secs(3));
    stream.stop(PATIENCE).expect("it ends");
    // Whether all of the box is of this luma; the clip has no box of one colour there.
    let pictures = pictures(&file);
    let is = |value: u8| {
        move |picture: &&Vec<u8>| {
            let rows = picture.chunks_exact(WIDTH).take(56).skip(8);
            rows.flat_map(|row| &row[8..56]).all(|luma| luma.abs_diff(value) <= 5)
        }
    };
    let red = pictures.iter().take_while(is(81)).count();
    let blue = pictures.iter().skip(red).take_while(is(41)).count();
    assert!(red >= 20 && blue >= 25 && pictures.len() > red + blue + 10, "{red} {blue} {}", pictures.len());
}

#[test]
fn filters_that_would_open_something_are_refused_before_anything_starts() {
    let directory = directory();
    let file = |name: &str| directory.path().join(name);
    let clip = Clip::default().make(directory.path(), "clip.mp4");
    // Opening it would wait for a writer, for ever.
    let fifo = file("fifo");
    Peer::spawn(Path::new("mkfifo"), [text(&fifo)]).wait_success(PATIENCE);
    let (fifo, made) = (text(&fifo).to_owned(), text(&file("made")).to_owned());
    let graphs = [
        format!("movie={fifo}[a];[in][a]overlay[out]"),
        format!("mo'vi'e={fifo}[a];[in][a]overlay"),
        format!("\\movie={fifo}[a];[in][a]overlay"),
        format!("hflip,movie@x={fifo}"),
        format!("amovie={fifo},anullsink;hflip"),
        format!("subtitles={fifo}"),
        format!("subtitles=filename={fifo}"),
        format!("ass={fifo}"),
        format!("drawtext=textfile={fifo}"),
        format!("drawtext=fontfile={fifo}:text=a"),
        "drawtext=text=a".to_owned(),
        format!("lut3d={fifo}"),
        format!("lut3d=file={fifo}"),
        format!("lut1d={fifo}"),
        format!("curves=psfile={fifo}"),
        format!("selectivecolor=psfile={fifo}"),
        format!("sendcmd=f={fifo}"),
        "sendcmd=c='0 hue s 0',hue".to_owned(),
        "zmq".to_owned(),
        "zmq=bind_address=tcp\\\\://127.0.0.1\\\\:5555".to_owned(),
        format!("metadata=print:file={made}"),
        format!("signalstats,metadata=mode=print:file={made}"),
        format!("deshake=filename={made}"),
        format!("vidstabdetect=result={made}"),
        format!("vidstabtransform=input={fifo}"),
        format!("frei0r=filter_name={fifo}"),
        "frei0r=glow".to_owned(),
        format!("ladspa=file={fifo}"),
        format!("removelogo={fifo}"),
        format!("find_rect=object={fifo}"),
        format!("cover_rect=cover={fifo}"),
        format!("dnn_processing=model={fifo}:input=x:output=y"),
        format!("sr=model={fifo}"),
        format!("derain=model={fifo}"),
        format!("dnn_detect=model={fifo}"),
        format!("libvmaf=log_path={made}"),
        format!("psnr=stats_file={made}"),
        format!("ssim=stats_file={made}"),
        format!("vmafmotion=stats_file={made}"),
        format!("signature=filename={made}"),
        format!("fieldhint=hint={fifo}"),
        format!("program_opencl=source={fifo}"),
        format!("nnedi=weights={fifo}"),
        format!("libplacebo=custom_shader_path={fifo}"),
        format!("ocr=datapath={fifo}"),
        format!("segment=timestamps=1,hflip;haldclut={fifo}"),
        format!("showspectrumpic={fifo}"),
        "color=red[a];[in][a]overlay".to_owned(),
        "testsrc,nullsink;hflip".to_owned(),
        "setpts=PTS*2".to_owned(),
        "loop=-1:100".to_owned(),
        "reverse".to_owned(),
        "fps=1".to_owned(),
        "select=0".to_owned(),
        "sws_flags=lanczos;movie=a".to_owned(),
    ];
    let engine = engine(|_| {});
    let start = |encoding: Encoding, mode: Mode| {
        let source = Source::file(&clip).looped().mode(mode).encoding(encoding);
        engine.stream(source).to(Output::record(file("out.flv"))).start()
    };
    for graph in &graphs {
        let error = start(independent().filters(graph), Mode::Encode).expect_err(graph);
        assert!(matches!(error, Error::Config { name: "encoding.filters", .. }), "{graph}: {error}");
    }
    // What libav does not take is refused with what it says.
    for (graph, said) in [
        ("eq=contrast=much", "eq=contrast=much"),
        ("eq=kontrast=1", "Option not found"),
        ("nosuchfilter", "nosuchfilter"),
        ("split[a][b];[a]nullsink", "nullsink"),
        ("hflip,", "empty"),
    ] {
        let error = start(independent().filters(graph), Mode::Encode).expect_err(graph).to_string();
        assert!(error.contains(said), "{graph}: {error}");
    }
    assert!(!file("made").exists() && !file("out.flv").exists());
    // Nothing is drawn over what is copied.
    let style = TextStyle::new(Font::file(file("none.ttf")));
    for encoding in [independent().filters("hflip"), independent().overlay(Overlay::image(file("none.png")))]
    {
        let error = start(encoding, Mode::Copy).expect_err("it is copied");
        assert!(error.to_string().contains("copied"), "{error}");
    }
    // What is not there, or is something else, is refused with its name.
    for overlay in [
        Overlay::image(file("none.png")),
        Overlay::image(&clip),
        Overlay::image(&fifo),
        Overlay::image(directory.path()),
        Overlay::text("a", style),
        Overlay::text("a", TextStyle::new(Font::file(&clip))),
    ] {
        let error =
            start(independent().overlay(overlay.clone()), Mode::Encode).expect_err("it cannot be drawn");
        assert!(matches!(error, Error::Config { name: "encoding.overlays", .. }), "{overlay:?}: {error}");
        assert!(error.to_string().contains(text(directory.path())), "{error}");
    }
}

#[test]
fn a_file_that_could_be_copied_is_encoded_where_something_is_drawn_over_it() {
    let _turn = turn();
    let directory = directory();
    let clip = Clip { b_frames: 0, ..Clip::default() }.make(directory.path(), "clip.mp4");
    let file = directory.path().join("gray.flv");
    // A real image file, half transparent.
    let logo =
        make(directory.path(), "logo.png", "-f lavfi -i color=red@0.5:size=32x32,format=rgba -frames:v 1");
    let engine = engine(|_| {});
    let events = engine.events();
    let mut encoding = independent().filters("hue=s=0").overlay(Overlay::image(&logo));
    encoding.size = Some((WIDTH as u32, HEIGHT as u32));
    let source = Source::file(&clip).looped().mode(Mode::Auto).encoding(encoding);
    let stream = engine.stream(source).to(Output::record(&file)).start().expect("it can be encoded");
    let detail = wait_event(&events, PATIENCE, |event| match &event.kind {
        EventKind::Judged { verdict, .. } => Some(format!("{verdict:?}")),
        _ => None,
    });
    assert!(detail.contains("overlays"), "{detail}");
    goes_on(&stream, Duration::from_secs(1));
    stream.stop(PATIENCE).expect("it ends");
    let pictures = pictures(&file);
    assert!(pictures.len() >= 20);
    let half = WIDTH / 2;
    for picture in pictures {
        let colours = &picture[WIDTH * HEIGHT..];
        let reds = &colours[half * HEIGHT / 2..];
        for (place, red) in reds.iter().enumerate() {
            let (x, y) = (place % half * 2, place / half * 2);
            match (x < 32 && y < 32, x < 48 && y < 48) {
                (true, _) => assert!((170..=195).contains(red), "{x},{y}: {red}"),
                (false, true) => {}
                (false, false) => assert!(red.abs_diff(128) <= 2, "{x},{y}: {red}"),
            }
        }
    }
}

#[test]
fn what_a_program_makes_is_filtered_once_and_drawn_over() {
    let _turn = turn();
    let directory = directory();
    let file = directory.path().join("frames.flv");
    let (width, height) = (WIDTH as u32, HEIGHT as u32);
    let made = VideoFormat::new(PixelFormat::Rgba, width, height, FrameRate::whole(25));
    let (sink, source) = Frames::new(made).open().expect("usable settings");
    let red = Overlay::pixels(48, 32, solid(48, 32, [255, 0, 0, 255]));
    let encoding = independent().filters("hflip").overlay(red);
    let engine = engine(|_| {});
    let stream =
        engine.stream(source.encoding(encoding)).to(Output::record(&file)).start().expect("it starts");
    // White on the left, black on the right; the picture that was sent last is shown from there on.
    let row: Vec<u8> =
        (0..WIDTH).flat_map(|x| if x < WIDTH / 2 { [255; 4] } else { [0, 0, 0, 255] }).collect();
    sink.send_copy(&[&row.repeat(HEIGHT)], &[WIDTH * 4], When::Now).expect("it fits");
    goes_on(&stream, Duration::from_secs(2));
    stream.stop(PATIENCE).expect("it ends");
    let picture = pictures(&file).pop().expect("a picture");
    let at = |x: usize, y: usize| picture[y * WIDTH + x];
    assert!(
        at(20, 100).abs_diff(16) <= 4 && at(300, 100).abs_diff(235) <= 4,
        "{} {}",
        at(20, 100),
        at(300, 100)
    );
    assert!((60..85).contains(&at(20, 10)), "red: {}", at(20, 10));
}
