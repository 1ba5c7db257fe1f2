//! Real footage in formats platforms do not take, made with the `ffmpeg` program once and kept for later runs.
//!
//! All are five seconds of the same film. The lowest rows of each picture show its number as eight black or white bars, which no
//! encoder can blur, and one second into the file there is a beep: so a picture that is lost, shown twice or out of order is
//! seen, and sound out of step as well.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::{media, run};

const ENCODING: Duration = Duration::from_secs(180);
/// The film.
pub(crate) const FILM: &str = "bigbuckbunny.mp4";
/// Pictures of a clip.
pub(crate) const PICTURES: usize = 125;
/// Pictures a second.
pub(crate) const RATE: f64 = 25.0;
/// Height of the bars, in the picture as it is shown.
pub(crate) const BARS: usize = 32;

/// A clip and how it is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clip {
    /// The file's name; its extension says the container.
    pub(crate) name: &'static str,
    /// What is special about it.
    pub(crate) what: &'static str,
    /// The size it is shown at.
    pub(crate) size: (u32, u32),
    /// What is done to the film before the bars are laid over it.
    pub(crate) film: &'static str,
    /// What is done to the picture after that.
    pub(crate) then: &'static str,
    /// The picture's encoder and its options.
    pub(crate) video: &'static str,
    /// The sound's encoder and its options; empty for none.
    pub(crate) audio: &'static str,
    /// Options of a second call that copies; empty if there is none.
    pub(crate) copied: &'static str,
    /// What is broken of the file at the end.
    pub(crate) damage: fn(Vec<u8>) -> Vec<u8>,
    /// What [`Mode::Auto`](flowcast::Mode::Auto) leaves as it is: picture, sound.
    pub(crate) kept: (bool, bool),
}

const UPRIGHT: (u32, u32) = (432, 240);
const X264: &str = "libx264 -preset veryfast -g 50 -keyint_min 50 -sc_threshold 0 -bf 2 -b:v 400k";

const fn clip(name: &'static str, what: &'static str, video: &'static str, audio: &'static str) -> Clip {
    let kept = (false, false);
    Clip {
        name,
        what,
        size: UPRIGHT,
        film: "",
        then: "",
        video,
        audio,
        copied: "",
        damage: |data| data,
        kept,
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Clip> {
    let aac = "aac -ac 2 -b:a 128k";
    vec![
        clip(
            "asp.avi",
            "MPEG-4 ASP and MP3 in AVI",
            "mpeg4 -bf 2 -vtag XVID -q:v 3",
            "libmp3lame -ac 2 -ar 44100",
        ),
        clip(
            "vp9.webm",
            "VP9 and Opus",
            "libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 600k",
            "libopus -ac 2",
        ),
        Clip {
            kept: (false, true),
            ..clip(
                "hevc.mp4",
                "HEVC",
                "libx265 -preset ultrafast -tag:v hvc1 -x265-params log-level=none",
                aac,
            )
        },
        Clip {
            kept: (false, true),
            ..clip("ten-bit.mkv", "H.264 with 10 bits", "libx264 -preset veryfast -pix_fmt yuv420p10le", aac)
        },
        Clip {
            film: "settb=1/50,setpts=N,fps=50,tinterlace=interleave_top,fps=25,",
            then: ",setfield=tff",
            ..clip(
                "fields.mpg",
                "interlaced MPEG-2 and MP2",
                "mpeg2video -flags +ildct+ilme -top 1 -q:v 3",
                "mp2 -ac 2",
            )
        },
        Clip {
            then: ",select='lt(n,60)+not(mod(n,3))'",
            kept: (false, true),
            ..clip("vfr.mp4", "variable frame rate", "mpeg4 -q:v 3 -fps_mode vfr -enc_time_base 1:30000", aac)
        },
        Clip {
            size: (240, 432),
            then: ",transpose=clock",
            copied: "-metadata:s:v:0 rotate=90",
            kept: (false, true),
            ..clip("phone.mp4", "a phone's, lying on its side", X264, aac)
        },
        Clip {
            kept: (false, true),
            ..clip("chroma.mp4", "H.264 with 4:4:4", "libx264 -preset veryfast -pix_fmt yuv444p", aac)
        },
        clip("mute.avi", "no sound", "mpeg4 -q:v 3", ""),
        Clip { kept: (true, false), ..clip("surround.mkv", "5.1", X264, "ac3 -ac 6") },
        clip("mono.mkv", "mono MP3 at 48 kHz", "mpeg4 -q:v 3", "libmp3lame -ac 1 -ar 48000"),
        Clip { kept: (true, true), ..clip("adts.ts", "ADTS in a transport stream", X264, aac) },
        Clip { damage: cut_tail, ..clip("cut.avi", "cut off", "mpeg4 -q:v 3", "libmp3lame -ac 2 -ar 44100") },
        Clip {
            damage: spoil_tail,
            ..clip("spoilt.ts", "its end overwritten with noise", "mpeg2video -q:v 3", "mp2 -ac 2")
        },
    ]
}

fn cut_tail(mut data: Vec<u8>) -> Vec<u8> {
    data.truncate(data.len() * 4 / 5);
    data
}

fn spoil_tail(mut data: Vec<u8>) -> Vec<u8> {
    let from = data.len() * 9 / 10;
    let mut state = 1u32;
    for byte in &mut data[from..] {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        *byte = (state >> 24) as u8;
    }
    data
}

/// Where clips are kept.
pub(crate) fn directory() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transcode-clips");
    fs::create_dir_all(&directory).expect("a directory for clips");
    directory
}

impl Clip {
    fn arguments(&self) -> Vec<String> {
        let (width, height) = self.size;
        let film = media(FILM).expect("the test said that it needs it");
        let mut arguments =
            vec!["-nostdin".to_owned(), "-v".into(), "error".into(), "-y".into(), "-bitexact".into()];
        arguments.extend(["-i".into(), film.to_str().expect("a path in UTF-8").to_owned()]);
        let bars = format!(
            "nullsrc=s={width}x{BARS}:r={RATE}:d=6,format=yuv420p,\
             geq=lum='if(gte(mod(N,2*pow(2,floor(X*8/W))),pow(2,floor(X*8/W))),220,30)':cb=128:cr=128"
        );
        let beep = "aevalsrc=exprs='0.5*sin(2*PI*1000*t)*between(t,1,1.1)':s=48000:c=mono:d=5";
        arguments.extend(
            ["-f", "lavfi", "-i", &bars, "-f", "lavfi", "-i", beep, "-filter_complex"].map(str::to_owned),
        );
        // The film runs on over its end, for those who play it faster.
        arguments.push(format!(
            "[0:v]loop=-1:125:0,settb=1/25,setpts=N,{film}scale={width}:{height},setsar=1[p];\
             [p][1:v]overlay=0:H-h:format=yuv420,trim=end_frame={PICTURES}{then}[v];\
             [0:a]volume=0.1,atrim=end=5[s];[2:a]aformat=channel_layouts=5.1[b];\
             [s][b]amix=inputs=2:normalize=0,aformat=channel_layouts=5.1[a]",
            film = self.film,
            then = self.then,
        ));
        let mut add = |words: &str| arguments.extend(words.split_whitespace().map(str::to_owned));
        add("-map [v] -threads 1 -pix_fmt yuv420p -g 50 -c:v");
        add(self.video);
        match self.audio {
            "" => {}
            audio => add(&format!("-map [a] -c:a {audio}")),
        }
        arguments
    }

    /// The file, made if it is not there yet.
    pub(crate) fn make(&self) -> PathBuf {
        let mut arguments = self.arguments();
        if self.audio.is_empty() {
            // Without its sound the graph would end in the open.
            let graph = arguments.iter().position(|word| word.starts_with("[0:v]")).expect("a graph");
            arguments[graph] =
                arguments[graph].split(";[0:a]").next().expect("the pictures' part").to_owned();
        }
        made(self.name, &(&arguments, self.copied), |file| {
            let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_owned();
            let first = file
                .with_file_name(format!("first-{}", file.file_name().unwrap_or_default().to_string_lossy()));
            run("ffmpeg", arguments.iter().cloned().chain([text(&first)]), ENCODING);
            if self.copied.is_empty() {
                fs::rename(&first, file).expect("a file that was made");
            } else {
                let copy = ["-nostdin", "-v", "error", "-y", "-i"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([text(&first)]);
                let copy = copy.chain(["-c".into(), "copy".into()]);
                let copy = copy.chain(self.copied.split_whitespace().map(str::to_owned)).chain([text(file)]);
                run("ffmpeg", copy, ENCODING);
                fs::remove_file(&first).expect("a file that was made");
            }
            let whole = fs::read(file).expect("a file that was made");
            fs::write(file, (self.damage)(whole)).expect("a file that can be written");
        })
    }

    /// Whether pictures are missing or broken at its end.
    pub(crate) fn is_damaged(&self) -> bool {
        matches!(self.name, "cut.avi" | "spoilt.ts")
    }

    /// Whether its pictures are not one every 25th of a second.
    pub(crate) fn is_uneven(&self) -> bool {
        self.name == "vfr.mp4"
    }
}

/// A file that is kept as long as what it is made of (`recipe`) is the same.
pub(crate) fn made(name: &str, recipe: &impl Hash, make: impl FnOnce(&Path)) -> PathBuf {
    let mut hasher = DefaultHasher::new();
    recipe.hash(&mut hasher);
    let file = directory().join(format!("{:016x}-{name}", hasher.finish()));
    if !file.exists() {
        // Under another name until it is whole; the process's and the thread's numbers keep two makers apart.
        let thread = format!("{:?}", std::thread::current().id());
        let thread: String = thread.chars().filter(char::is_ascii_digit).collect();
        let unfinished = directory().join(format!("{}-{thread}-{name}", std::process::id()));
        make(&unfinished);
        fs::rename(&unfinished, &file).expect("a file that was made");
    }
    file
}
