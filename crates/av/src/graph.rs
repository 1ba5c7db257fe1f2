//! Filter graphs that a program writes in libav's own notation.
//!
//! In: the text. Out: whether it can be used. Only filters of a list are taken, all of which work on pictures alone: none of them opens a file,
//! a socket or a device. libav opens such things as soon as it is told of the filter, so the text is looked at before libav sees it.

use std::ffi::CString;

use crate::sys::{self, RawGraph};
use crate::{Error, TimeBase, VideoFormat};

/// The filters that may be used. Each makes one picture of one picture, or of several of the same moment, and has no option that names a
/// file. What makes pictures by itself, changes times, or holds more than a few pictures is not among them.
pub const FILTERS: [&str; 116] = [
    "alphaextract",
    "alphamerge",
    "amplify",
    "atadenoise",
    "avgblur",
    "bilateral",
    "blend",
    "boxblur",
    "bwdif",
    "cas",
    "chromahold",
    "chromakey",
    "chromanr",
    "chromashift",
    "colorbalance",
    "colorchannelmixer",
    "colorcontrast",
    "colorcorrect",
    "colorhold",
    "colorize",
    "colorkey",
    "colorlevels",
    "colormatrix",
    "colorspace",
    "colortemperature",
    "convolution",
    "copy",
    "crop",
    "dblur",
    "deband",
    "deblock",
    "dedot",
    "deflate",
    "deflicker",
    "delogo",
    "despill",
    "dilation",
    "drawbox",
    "drawgrid",
    "edgedetect",
    "elbg",
    "epx",
    "eq",
    "erosion",
    "exposure",
    "fftdnoiz",
    "fillborders",
    "floodfill",
    "format",
    "gblur",
    "gradfun",
    "grayworld",
    "greyedge",
    "hflip",
    "histeq",
    "hqdn3d",
    "hqx",
    "hstack",
    "hsvhold",
    "hsvkey",
    "hue",
    "huesaturation",
    "il",
    "inflate",
    "kirsch",
    "lagfun",
    "lenscorrection",
    "limiter",
    "lumakey",
    "lut",
    "lutrgb",
    "lutyuv",
    "median",
    "monochrome",
    "negate",
    "nlmeans",
    "noise",
    "normalize",
    "null",
    "overlay",
    "owdenoise",
    "pad",
    "perspective",
    "pixelize",
    "pp7",
    "prewitt",
    "pseudocolor",
    "rgbashift",
    "roberts",
    "rotate",
    "sab",
    "scale",
    "scharr",
    "setdar",
    "setparams",
    "setrange",
    "setsar",
    "shear",
    "shuffleplanes",
    "smartblur",
    "sobel",
    "split",
    "spp",
    "swaprect",
    "swapuv",
    "tonemap",
    "transpose",
    "unsharp",
    "vaguedenoiser",
    "vflip",
    "vibrance",
    "vignette",
    "vstack",
    "xbr",
    "xstack",
    "yaepblur",
];

/// Refuses a filter graph that may not be used, or that libav does not take for pictures of this format. An empty one is none.
///
/// # Errors
/// [`Error::InvalidArgument`], which names the filter that is not one of [`FILTERS`], or what libav says of it.
pub fn check_filters(graph: &str, from: &VideoFormat) -> Result<(), Error> {
    sys::check_versions()?;
    let refuse = |message: String| Error::InvalidArgument { message };
    if graph.trim().is_empty() {
        return Ok(());
    }
    let filters = filters(graph).map_err(refuse)?;
    for (name, arguments) in &filters {
        if !FILTERS.contains(&name.as_str()) {
            let message = format!("the filter {name:?} is not one of those that may be used");
            return Err(refuse(message));
        }
        let c_name = CString::new(name.as_str()).map_err(|_| refuse("it holds a NUL".to_owned()))?;
        if !sys::has_filter(&c_name) {
            return Err(Error::Unavailable { what: "filter", name: name.clone() });
        }
        if let Some(option) = sys::filter_options(&c_name).into_iter().find(|option| names_a_file(option)) {
            return Err(refuse(format!(
                "the filter {name:?} has the option {option:?}, which may name a file"
            )));
        }
        let arguments = arguments.clone().unwrap_or_default();
        let c_arguments =
            CString::new(arguments.as_str()).map_err(|_| refuse("it holds a NUL".to_owned()))?;
        sys::try_filter(&c_name, &c_arguments)
            .map_err(|failure| refuse(format!("the filter {name}={arguments}: {}", failure.message())))?;
    }
    // As it is on the air: between filters of ours.
    RawGraph::open(from, TimeBase::MILLIS, &format!("null,{},null", unlabelled(graph)), 1)
        .map_err(|failure| refuse(format!("the graph cannot be set up: {}", failure.message())))
        .map(drop)
}

/// Whether an option of this name may open something, in whatever release of FFmpeg.
pub(crate) fn names_a_file(option: &str) -> bool {
    ["file", "path", "url", "uri", "model", "plugin", "socket", "address", "dump", "script", "plot"]
        .iter()
        .any(|word| option.contains(word))
}

/// The graph between filters of ours: the names that libav's own tools give to the ends are left out.
pub(crate) fn unlabelled(graph: &str) -> String {
    let graph = graph.trim();
    let graph = graph.strip_prefix("[in]").unwrap_or(graph);
    graph.strip_suffix("[out]").unwrap_or(graph).trim_matches([',', ';']).to_owned()
}

/// The names of the filters of a graph, and what each is told, read as libav reads them.
fn filters(graph: &str) -> Result<Vec<(String, Option<String>)>, String> {
    let mut rest = graph.as_bytes();
    let mut found = Vec::new();
    skip_space(&mut rest);
    if rest.starts_with(b"sws_flags=") {
        return Err("sws_flags cannot be set for the graph; scale has an option for it".to_owned());
    }
    loop {
        labels(&mut rest)?;
        let name = token(&mut rest, b"=,;[");
        let mut arguments = None;
        if rest.first() == Some(&b'=') {
            rest = &rest[1..];
            arguments = Some(token(&mut rest, b"[],;"));
        }
        // An instance may have a name of its own.
        let kind = name.split('@').next().unwrap_or_default().to_owned();
        if kind.is_empty() {
            return Err("it has an empty filter".to_owned());
        }
        found.push((kind, arguments));
        labels(&mut rest)?;
        skip_space(&mut rest);
        match rest.first() {
            None => return Ok(found),
            Some(b',' | b';') => rest = &rest[1..],
            Some(_) => return Err(format!("what follows {name:?} is no filter")),
        }
    }
}

/// Passes over `[label]`s.
fn labels(rest: &mut &[u8]) -> Result<(), String> {
    skip_space(rest);
    while rest.first() == Some(&b'[') {
        *rest = &rest[1..];
        token(rest, b"]");
        if rest.first() != Some(&b']') {
            return Err("a label has no end".to_owned());
        }
        *rest = &rest[1..];
        skip_space(rest);
    }
    Ok(())
}

fn skip_space(rest: &mut &[u8]) {
    while let Some(b' ' | b'\n' | b'\t' | b'\r') = rest.first() {
        *rest = &rest[1..];
    }
}

/// What libav's `av_get_token` gives: the text up to one of `ends`, without its quotes, and without space around it.
fn token(rest: &mut &[u8], ends: &[u8]) -> String {
    skip_space(rest);
    let mut out = Vec::new();
    let mut kept = 0;
    while let Some((&byte, after)) = rest.split_first() {
        if ends.contains(&byte) {
            break;
        }
        *rest = after;
        match (byte, rest.split_first()) {
            (b'\\', Some((&escaped, after))) => {
                *rest = after;
                out.push(escaped);
                kept = out.len();
            }
            (b'\'', _) => {
                let end = rest.iter().position(|byte| *byte == b'\'').unwrap_or(rest.len());
                out.extend_from_slice(&rest[..end]);
                if end < rest.len() {
                    *rest = &rest[end + 1..];
                    kept = out.len();
                } else {
                    *rest = &rest[end..];
                }
            }
            _ => out.push(byte),
        }
    }
    while out.len() > kept && matches!(out.last(), Some(b' ' | b'\n' | b'\t' | b'\r')) {
        out.pop();
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;
    use crate::ColorInfo;

    fn format() -> VideoFormat {
        VideoFormat {
            width: 320,
            height: 180,
            pixel_format: "yuv420p".to_owned(),
            sample_aspect: None,
            color: ColorInfo::default(),
        }
    }

    #[test]
    fn no_filter_of_the_list_has_an_option_that_names_a_file() {
        let mut sorted = FILTERS;
        sorted.sort_unstable();
        assert_eq!(sorted, FILTERS);
        let mut present = 0;
        for name in FILTERS {
            let c_name = CString::new(name).unwrap();
            if !sys::has_filter(&c_name) {
                continue;
            }
            present += 1;
            for option in sys::filter_options(&c_name) {
                assert!(!names_a_file(&option), "{name}: {option}");
            }
        }
        assert!(present > 60, "{present} of them are in this libav");
    }

    #[test]
    fn every_other_filter_of_this_libav_is_refused_before_it_sees_its_arguments() {
        let names = sys::filter_names();
        let (mut refused, mut with_files) = (0, 0);
        for name in names.iter().filter(|name| !FILTERS.contains(&name.as_str())) {
            for graph in
                [name.clone(), format!("hflip,{name}=x=/no/such/file"), format!("{name}@a[b];[b]hflip")]
            {
                let error = check_filters(&graph, &format()).unwrap_err().to_string();
                assert!(error.contains("is not one of those that may be used"), "{graph}: {error}");
            }
            refused += 1;
            let c_name = CString::new(name.as_str()).unwrap();
            with_files += usize::from(sys::filter_options(&c_name).iter().any(|option| names_a_file(option)));
        }
        // So the words do find what opens files.
        assert!(refused > 100 && with_files > 20, "{refused} {with_files}");
    }

    #[test]
    fn a_graph_whose_end_is_not_its_last_filter_is_refused_as_nothing_can_follow_it() {
        let graph = "split[a][b];[a][c]hstack[out];[b]hflip[c]";
        let error = check_filters(graph, &format()).unwrap_err().to_string();
        assert!(error.contains("cannot be set up"), "{error}");
        check_filters("split[a][b];[b]hflip[c];[a][c]hstack[out]", &format()).unwrap();
    }

    #[test]
    fn graphs_are_read_as_libav_reads_them() {
        let names = |graph: &str| {
            filters(graph).map(|found| found.into_iter().map(|(name, _)| name).collect::<Vec<_>>())
        };
        assert_eq!(names("hflip").unwrap(), ["hflip"]);
        assert_eq!(
            names(" split [a][b]; [a] hflip [c]; [b][c] hstack ").unwrap(),
            ["split", "hflip", "hstack"]
        );
        assert_eq!(names("eq=contrast='1,5':gamma=2,mo'vi'e@x=a\\,b").unwrap(), ["eq", "movie"]);
        assert_eq!(names("\\movie=a").unwrap(), ["movie"]);
        assert_eq!(names("hflip,'movie'").unwrap(), ["hflip", "movie"]);
        for refused in ["", "hflip,", "[a hflip", "sws_flags=1;hflip", ",hflip"] {
            assert!(names(refused).is_err(), "{refused:?}");
        }
    }

    #[test]
    fn what_libav_takes_is_taken_and_what_it_does_not_is_said() {
        for taken in [
            "hue=s=0",
            "eq=contrast=1.2:brightness=0.05,unsharp",
            "split[a][b];[a]hflip[c];[b][c]hstack",
            "[in]crop=iw/2:ih/2:0:0[out]",
            "drawbox=x=10:y=10:w=100:h=50:color=red@0.5:t=fill",
            "scale=160:-2",
            "",
        ] {
            check_filters(taken, &format()).unwrap();
        }
        let refused = |graph: &str| check_filters(graph, &format()).unwrap_err().to_string();
        assert!(refused("eq=contrast=abc").contains("eq=contrast=abc"), "{}", refused("eq=contrast=abc"));
        assert!(refused("eq=contrasts=1").contains("eq=contrasts=1"));
        assert!(refused("hflop").contains("\"hflop\""));
        assert!(refused("split[a][b]").contains("graph"), "{}", refused("split[a][b]"));
    }
}
