//! The files that are looped: how each is made, and what is special about it.

/// A file that is looped.
pub(super) struct Case {
    pub(super) name: &'static str,
    /// What is special about it.
    pub(super) what: &'static str,
    /// One call of `ffmpeg` each.
    pub(super) make: Vec<String>,
    /// Options `ffmpeg` needs to show all of it.
    pub(super) before: &'static str,
    pub(super) video: bool,
    pub(super) sound: bool,
    /// The reel is the file itself.
    pub(super) foreign: bool,
    /// Milliseconds from a lap's last picture to the next lap's first; without, one usual step.
    pub(super) seam: Option<(f64, f64)>,
    /// It begins with a picture that is no IDR: what a decoder makes of the seam is its own affair.
    pub(super) headless: bool,
    /// The file's own clock jumps.
    pub(super) jumps: bool,
    /// The largest gap of the file's own sound, in milliseconds.
    pub(super) own_gap: f64,
    /// Beeps of a lap; of the first one.
    pub(super) beeps: (usize, usize),
}

const X264: &str = "-c:v libx264 -preset veryfast -threads 1 -pix_fmt yuv420p";

/// A moving test picture, each frame different.
fn picture(rate: &str, seconds: &str) -> String {
    format!("-f lavfi -i testsrc2=size=160x96:rate={rate}:duration={seconds}")
}

/// A faint tone that rises, with a beep after half a second and every two seconds from there.
fn sound(rate: u32, layout: &str, seconds: &str) -> String {
    let tone = "0.05*sin(2*PI*300*t+9*t*t)+0.8*sin(2*PI*1000*t)*between(mod(t,2),0.5,0.6)";
    format!("-f lavfi -i aevalsrc=exprs='{tone}':s={rate}:c={layout}:d={seconds}")
}

fn case(name: &'static str, what: &'static str, make: Vec<String>) -> Case {
    Case {
        name,
        what,
        make,
        before: "",
        video: true,
        sound: true,
        foreign: false,
        seam: None,
        headless: false,
        jumps: false,
        own_gap: 0.0,
        beeps: (1, 1),
    }
}

/// A picture with `x264` options and two seconds of stereo at 48 kHz.
fn plain(name: &'static str, what: &'static str, x264: &str) -> Case {
    let (picture, sound) = (picture("25", "2"), sound(48_000, "stereo", "2"));
    case(name, what, vec![format!("{picture} {sound} {X264} -g 25 {x264} -c:a aac {name}")])
}

/// Two seconds of picture with B-frames, and this sound.
fn with_sound(
    name: &'static str,
    what: &'static str,
    rate: u32,
    layout: &str,
    seconds: &str,
    codec: &str,
) -> Case {
    let (picture, sound) = (picture("25", "2"), sound(rate, layout, seconds));
    case(name, what, vec![format!("{picture} {sound} {X264} -g 25 -bf 2 {codec} {name}")])
}

fn rate(name: &'static str, what: &'static str, rate: &str) -> Case {
    let (picture, sound) = (picture(rate, "2"), sound(44_100, "mono", "2"));
    case(name, what, vec![format!("{picture} {sound} {X264} -bf 2 -g 30 -c:a aac {name}")])
}

const PYRAMID: &str = "-bf 4 -x264-params b-pyramid=normal:b-adapt=0";
const OPEN: &str = "-bf 3 -x264-params open-gop=1:b-adapt=0:keyint=25:scenecut=0";

pub(super) fn pictures() -> Vec<Case> {
    let longer = format!("{} {}", picture("25", "4"), sound(48_000, "stereo", "4"));
    let joined = |name| {
        vec![
            format!(
                "{} {} {X264} -bf 2 -c:a aac one.ts",
                picture("25", "1.6"),
                sound(48_000, "stereo", "1.6")
            ),
            format!(
                "-f lavfi -i testsrc=size=192x108:rate=25:duration=1 {} {X264} -bf 0 -profile:v baseline -c:a aac two.ts",
                sound(48_000, "stereo", "1")
            ),
            format!("-i concat:one.ts|two.ts -c copy {name}"),
        ]
    };
    let vfr = "-vf select='not(mod(n,3)*gt(n,20))' -fps_mode vfr -enc_time_base 1:90000";
    let slow = "-vf setpts='if(lt(N,4),N*10,36+N)' -fps_mode vfr -enc_time_base 1:90000";
    let slow_end = "-vf setpts='if(lt(N,40),N,N*5-160)' -fps_mode vfr -enc_time_base 1:90000";
    vec![
        plain("b-frames.mp4", "three B-frames", "-bf 3"),
        plain("pyramid.mp4", "B-pyramid, four B-frames", PYRAMID),
        plain("pyramid.mkv", "B-pyramid, times in ms", PYRAMID),
        plain("pyramid.ts", "B-pyramid, begins at 1.4 s", PYRAMID),
        Case { foreign: true, ..plain("pyramid.flv", "B-pyramid, by index", PYRAMID) },
        plain("negative-cts.mp4", "negative composition times", "-bf 2 -movflags negative_cts_offsets"),
        Case { own_gap: 66.0, ..plain("no-edit-list.mp4", "no edit list", "-bf 2 -use_editlist 0") },
        Case {
            own_gap: 66.0,
            ..plain("fragmented.mp4", "fragmented", "-bf 2 -movflags frag_keyframe+empty_moov")
        },
        plain("open-gop.mp4", "open GOP, begins with an IDR", OPEN),
        plain("open-gop.ts", "open GOP, begins with an IDR", OPEN),
        plain("refresh.mp4", "intra refresh, one keyframe", "-bf 0 -x264-params intra-refresh=1"),
        plain("slices.mp4", "four slices, interlaced", "-bf 2 -x264-params slices=4:interlaced=1"),
        Case {
            beeps: (2, 2),
            before: "-ignore_editlist 1 ",
            ..case(
                "cut-copy.mp4",
                "cut within a GOP by copy: an edit list hides its beginning",
                vec![
                    format!("{longer} {X264} -g 25 -bf 2 -c:a aac whole.mp4"),
                    "-ss 0.7 -i whole.mp4 -t 2.2 -c copy cut-copy.mp4".to_owned(),
                ],
            )
        },
        Case {
            beeps: (2, 2),
            ..case(
                "cut-copy.mkv",
                "cut within a GOP by copy",
                vec![
                    format!("{longer} {X264} -g 25 -bf 2 -c:a aac whole.mp4"),
                    "-ss 0.7 -i whole.mp4 -t 2.2 -c copy cut-copy.mkv".to_owned(),
                ],
            )
        },
        Case {
            headless: true,
            beeps: (1, 1),
            before: "-ignore_editlist 1 ",
            ..case(
                "open-cut.mp4",
                "cut at an open GOP: its first frames lack their reference",
                vec![
                    format!("{longer} {X264} {OPEN} -c:a aac whole.mp4"),
                    "-ss 1.2 -i whole.mp4 -t 2.2 -c copy open-cut.mp4".to_owned(),
                ],
            )
        },
        Case {
            headless: true,
            beeps: (1, 1),
            ..case(
                "open-cut.ts",
                "cut at an open GOP: its first frames lack their reference",
                vec![
                    format!("{longer} {X264} {OPEN} -c:a aac whole.ts"),
                    "-ss 1.2 -i whole.ts -t 2.2 -c copy open-cut.ts".to_owned(),
                ],
            )
        },
        Case {
            beeps: (2, 1),
            ..case(
                "no-keyframe.ts",
                "begins within a GOP",
                vec![
                    format!("{longer} {X264} -g 25 -bf 2 -c:a aac whole.ts"),
                    "-i whole.ts -c copy -bsf:v noise=drop='lt(n,8)' no-keyframe.ts".to_owned(),
                ],
            )
        },
        Case {
            headless: true,
            beeps: (2, 1),
            ..case(
                "leading.ts",
                "begins with an open GOP: its first pictures lack their reference",
                vec![
                    format!("{longer} {X264} {OPEN} -c:a aac whole.ts"),
                    "-i whole.ts -c copy -bsf:v noise=drop='lt(n,20)' leading.ts".to_owned(),
                ],
            )
        },
        Case {
            seam: Some((120.0, 120.0)),
            ..plain("vfr.mp4", "variable frame rate with B-frames", &format!("-bf 2 {vfr}"))
        },
        plain("vfr.mkv", "variable frame rate with B-frames, times in ms", &format!("-bf 2 {vfr}")),
        Case {
            seam: Some((40.0, 120.0)),
            foreign: true,
            ..plain("vfr.flv", "variable frame rate, by index", &format!("-bf 2 {vfr}"))
        },
        Case {
            seam: Some((760.0, 760.0)),
            ..plain("slow-begin.mp4", "0.4 s a frame, then 0.04 s; B-frames", &format!("-bf 2 {slow}"))
        },
        Case {
            seam: Some((200.0, 200.0)),
            ..plain("slow-end.mp4", "0.04 s a frame, then 0.2 s; B-frames", &format!("-bf 3 {slow_end}"))
        },
        plain("slow-end.mkv", "0.04 s a frame, then 0.2 s; B-frames", &format!("-bf 3 {slow_end}")),
        Case {
            seam: Some((40.0, 200.0)),
            foreign: true,
            ..plain("slow-end.flv", "0.2 s a frame at the end, by index", &format!("-bf 3 {slow_end}"))
        },
        Case {
            jumps: true,
            seam: Some((40.0, 120.0)),
            beeps: (2, 2),
            ..case("joined.ts", "two files joined: size, profile and clock change", joined("joined.ts"))
        },
        rate("one.mp4", "1 frame a second", "1"),
        rate("sixty.mp4", "60 frames a second", "60"),
        rate("ntsc.mp4", "30000/1001 frames a second", "30000/1001"),
        rate("ntsc.mkv", "30000/1001 frames a second, times in ms", "30000/1001"),
        rate("film.ts", "24000/1001 frames a second", "24000/1001"),
        Case { foreign: true, ..rate("ntsc.flv", "30000/1001 frames a second, by index", "30000/1001") },
        Case { foreign: true, ..rate("ntsc-60.flv", "60000/1001 frames a second, by index", "60000/1001") },
    ]
}

pub(super) fn sounds() -> Vec<Case> {
    let late = |name: &str, which: &str| {
        let (picture, sound) = (picture("25", "2"), sound(48_000, "stereo", "2"));
        let (first, second) =
            if which == "sound" { ("", "-itsoffset 0.5 ") } else { ("-itsoffset 0.5 ", "") };
        vec![format!("{first}{picture} {second}{sound} {X264} -g 25 -bf 2 -c:a aac {name}")]
    };
    const AAC: &str = "-c:a aac";
    const MP3: &str = "-c:a libmp3lame";
    vec![
        with_sound("cd-mono.mp4", "44.1 kHz mono", 44_100, "mono", "2", AAC),
        with_sound("cd-stereo.mp4", "44.1 kHz stereo", 44_100, "stereo", "2", AAC),
        with_sound("half.mp4", "22.05 kHz", 22_050, "stereo", "2", AAC),
        with_sound("96.mp4", "96 kHz", 96_000, "stereo", "2", AAC),
        with_sound("surround.mp4", "5.1", 48_000, "5.1", "2", AAC),
        with_sound("surround-short.mp4", "5.1, sound 0.3 s shorter", 48_000, "5.1", "1.7", AAC),
        Case { foreign: true, ..with_sound("cd.flv", "44.1 kHz, by index", 44_100, "stereo", "2", AAC) },
        with_sound("cd.mkv", "44.1 kHz, times in ms", 44_100, "stereo", "2", AAC),
        with_sound("cd.ts", "44.1 kHz", 44_100, "stereo", "2", AAC),
        with_sound("half-longer.mp4", "sound 0.5 s longer", 48_000, "stereo", "2.5", AAC),
        with_sound("longer.mp4", "sound 3 s longer", 48_000, "stereo", "5", AAC),
        Case {
            foreign: true,
            ..with_sound("longer.flv", "sound 3 s longer, by index", 48_000, "stereo", "5", AAC)
        },
        with_sound("one-short.mp4", "sound one frame shorter", 48_000, "stereo", "1.978", AAC),
        with_sound("short.mp4", "sound 0.3 s shorter", 48_000, "stereo", "1.7", AAC),
        with_sound("shorter.ts", "sound 1.2 s shorter", 48_000, "stereo", "0.8", AAC),
        Case {
            foreign: true,
            ..with_sound("shorter.flv", "sound 1.2 s shorter, by index", 44_100, "mono", "0.8", AAC)
        },
        case("sound-late.mp4", "sound begins 0.5 s late", late("sound-late.mp4", "sound")),
        case("sound-late.ts", "sound begins 0.5 s late", late("sound-late.ts", "sound")),
        Case {
            foreign: true,
            ..case("sound-late.flv", "sound begins 0.5 s late, by index", late("sound-late.flv", "sound"))
        },
        case("picture-late.mp4", "picture begins 0.5 s late", late("picture-late.mp4", "video")),
        case("picture-late.mkv", "picture begins 0.5 s late", late("picture-late.mkv", "video")),
        with_sound("mp3.mp4", "MP3 at 44.1 kHz", 44_100, "stereo", "2", MP3),
        Case {
            foreign: true,
            ..with_sound("mp3.flv", "MP3 at 44.1 kHz, by index", 44_100, "stereo", "2", MP3)
        },
        with_sound("mp3.mkv", "MP3 at 22.05 kHz", 22_050, "mono", "2", MP3),
        with_sound("mp3-longer.mp4", "MP3, sound 0.5 s longer", 44_100, "stereo", "2.5", MP3),
        Case {
            video: false,
            ..case(
                "sound.m4a",
                "sound alone",
                vec![format!("{} -c:a aac sound.m4a", sound(44_100, "stereo", "2"))],
            )
        },
        Case {
            sound: false,
            ..case("mute.mp4", "no sound", vec![format!("{} {X264} -bf 2 mute.mp4", picture("25", "2"))])
        },
    ]
}
