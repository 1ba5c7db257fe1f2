//! A chain of picture filters: `AVFilterGraph` with one source and one sink.

use std::ffi::{CStr, CString, c_int};
use std::ptr::{self, NonNull};

use super::check::{Failure, check, non_null};
use super::ffi::{self, enum_field};
use super::{RawFrame, kind};
use crate::{TimeBase, VideoFormat};

/// A filter graph that is set up. Used by one thread at a time.
#[derive(Debug)]
pub(crate) struct RawGraph {
    graph: NonNull<ffi::AVFilterGraph>,
    /// Both belong to the graph.
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
    /// Room for what comes out; empty between calls.
    frame: Option<RawFrame>,
}

// SAFETY: a filter graph may be used by any one thread at a time.
unsafe impl Send for RawGraph {}

/// Whether libav has a filter of this name.
pub(crate) fn has_filter(name: &CStr) -> bool {
    // SAFETY: NUL-terminated; the result is null or static data.
    !unsafe { ffi::avfilter_get_by_name(name.as_ptr()) }.is_null()
}

/// The names of all filters libav has.
#[cfg(test)]
pub(crate) fn filter_names() -> Vec<String> {
    let (mut names, mut state) = (Vec::new(), ptr::null_mut());
    loop {
        // SAFETY: the state is our own and begins as null; definitions are static data, or null behind the last one.
        unsafe {
            let definition = ffi::av_filter_iterate(&raw mut state);
            if definition.is_null() {
                return names;
            }
            names.extend(ffi::text((*definition).name));
        }
    }
}

/// The options of a filter, by name.
pub(crate) fn filter_options(name: &CStr) -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: NUL-terminated; a filter's definition and its class are static data or null. `av_opt_next` takes a pointer to a pointer to a
    // class, as if it were an object that begins with one, and gives static data, or null behind the last option.
    unsafe {
        let definition = ffi::avfilter_get_by_name(name.as_ptr());
        if definition.is_null() || (*definition).priv_class.is_null() {
            return names;
        }
        let class = &raw const (*definition).priv_class;
        let mut option = ptr::null();
        loop {
            option = ffi::av_opt_next(class.cast(), option);
            if option.is_null() {
                return names;
            }
            // Constants are no options.
            if enum_field!(option, type_) != ffi::AVOptionType::AV_OPT_TYPE_CONST as c_int {
                names.extend(ffi::text((*option).name));
            }
        }
    }
}

/// Sets up a filter by itself, to see whether it takes these arguments.
pub(crate) fn try_filter(name: &CStr, arguments: &CStr) -> Result<(), Failure> {
    // SAFETY: plain allocation.
    let graph = non_null(unsafe { ffi::avfilter_graph_alloc() }, "avfilter_graph_alloc")?;
    let mut opening = Opening { graph, inputs: ptr::null_mut(), outputs: ptr::null_mut() };
    opening.create(name, Some(arguments).filter(|arguments| !arguments.is_empty())).map(drop)
}

impl RawGraph {
    /// Sets up a chain, described as libav describes chains, for pictures of one format.
    pub(crate) fn open(
        from: &VideoFormat,
        time_base: TimeBase,
        chain: &str,
        threads: u32,
    ) -> Result<Self, Failure> {
        let refuse = |_| Failure::new(Failure::INVALID_ARGUMENT, "avfilter_graph_parse_ptr");
        let chain = CString::new(chain).map_err(refuse)?;
        let arguments = CString::new(source_arguments(from, time_base)?).map_err(refuse)?;
        // SAFETY: plain allocation.
        let graph = non_null(unsafe { ffi::avfilter_graph_alloc() }, "avfilter_graph_alloc")?;
        let mut opening = Opening { graph, inputs: ptr::null_mut(), outputs: ptr::null_mut() };
        let source = opening.create(c"buffer", Some(&arguments))?;
        let sink = opening.create(c"buffersink", None)?;
        opening.connect(source, sink, &chain, threads)?;
        Ok(Self { graph: opening.into_graph(), source, sink, frame: None })
    }

    /// The clock of what comes out.
    pub(crate) fn time_base(&self) -> TimeBase {
        // SAFETY: the sink of our own graph.
        let base = unsafe { ffi::av_buffersink_get_time_base(self.sink.as_ptr()) };
        TimeBase::new(u32::try_from(base.num).unwrap_or(1), u32::try_from(base.den).unwrap_or(1))
    }

    /// Gives it a picture, or `None` for the end. The picture's references move into the graph.
    pub(crate) fn send(&mut self, frame: Option<RawFrame>) -> Result<(), Failure> {
        let raw = frame.as_ref().map_or(ptr::null_mut(), RawFrame::as_ptr);
        // SAFETY: the source of our own graph, and a frame of ours, or null for the end. libav takes its references and
        // leaves it empty, or unchanged on failure; dropping it is right in both cases.
        let result = unsafe { ffi::av_buffersrc_add_frame_flags(self.source.as_ptr(), raw, 0) };
        check(result, "av_buffersrc_add_frame_flags").map(drop)
    }

    /// The next picture; `None` if it needs more, or is at its end.
    pub(crate) fn receive(&mut self) -> Result<Option<RawFrame>, Failure> {
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => RawFrame::empty()?,
        };
        // SAFETY: the sink of our own graph and an empty frame of ours.
        let result = unsafe { ffi::av_buffersink_get_frame(self.sink.as_ptr(), frame.as_ptr()) };
        if result < 0 {
            self.frame = Some(frame);
            return match result {
                Failure::AGAIN | Failure::END => Ok(None),
                _ => check(result, "av_buffersink_get_frame").map(|_| None),
            };
        }
        frame.force_keyframe(false);
        Ok(Some(frame))
    }
}

impl Drop for RawGraph {
    fn drop(&mut self) {
        let mut graph = self.graph.as_ptr();
        // SAFETY: our own graph; this frees its filters too.
        unsafe { ffi::avfilter_graph_free(&raw mut graph) };
    }
}

/// A graph being set up, and the ends of the chain that are not connected.
struct Opening {
    graph: NonNull<ffi::AVFilterGraph>,
    inputs: *mut ffi::AVFilterInOut,
    outputs: *mut ffi::AVFilterInOut,
}

impl Opening {
    /// Adds a filter to the graph, which owns it.
    fn create(
        &mut self,
        name: &CStr,
        arguments: Option<&CStr>,
    ) -> Result<NonNull<ffi::AVFilterContext>, Failure> {
        let mut filter = ptr::null_mut();
        let arguments = arguments.map_or(ptr::null(), CStr::as_ptr);
        // SAFETY: our own graph; NUL-terminated strings or null; the filter's definition is static data or null, which is
        // checked.
        unsafe {
            let definition = ffi::avfilter_get_by_name(name.as_ptr());
            if definition.is_null() {
                return Err(Failure::new(ffi::AVERROR_FILTER_NOT_FOUND, "avfilter_get_by_name"));
            }
            let result = ffi::avfilter_graph_create_filter(
                &raw mut filter,
                definition,
                name.as_ptr(),
                arguments,
                ptr::null_mut(),
                self.graph.as_ptr(),
            );
            check(result, "avfilter_graph_create_filter")?;
        }
        non_null(filter, "avfilter_graph_create_filter")
    }

    fn connect(
        &mut self,
        source: NonNull<ffi::AVFilterContext>,
        sink: NonNull<ffi::AVFilterContext>,
        chain: &CStr,
        threads: u32,
    ) -> Result<(), Failure> {
        // The open output of the source is what the chain's input is connected to.
        self.outputs = open_end(c"in", source)?;
        self.inputs = open_end(c"out", sink)?;
        let graph = self.graph.as_ptr();
        // SAFETY: our own graph and lists; the call replaces the lists by what is still open, which `drop` frees. With one
        // thread, a stream's work stays in the stream's thread.
        unsafe {
            (*graph).nb_threads = c_int::try_from(threads.clamp(1, 64)).unwrap_or(1);
            let result = ffi::avfilter_graph_parse_ptr(
                graph,
                chain.as_ptr(),
                &raw mut self.inputs,
                &raw mut self.outputs,
                ptr::null_mut(),
            );
            check(result, "avfilter_graph_parse_ptr")?;
            check(ffi::avfilter_graph_config(graph, ptr::null_mut()), "avfilter_graph_config").map(drop)
        }
    }

    fn into_graph(mut self) -> NonNull<ffi::AVFilterGraph> {
        self.free_ends();
        let graph = self.graph;
        std::mem::forget(self);
        graph
    }

    fn free_ends(&mut self) {
        // SAFETY: our own lists or null; the calls clear them.
        unsafe {
            ffi::avfilter_inout_free(&raw mut self.inputs);
            ffi::avfilter_inout_free(&raw mut self.outputs);
        }
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.free_ends();
        let mut graph = self.graph.as_ptr();
        // SAFETY: our own graph, which nothing else has taken over.
        unsafe { ffi::avfilter_graph_free(&raw mut graph) };
    }
}

/// A list of one open end, called `name`.
fn open_end(name: &CStr, filter: NonNull<ffi::AVFilterContext>) -> Result<*mut ffi::AVFilterInOut, Failure> {
    // SAFETY: plain allocations; the entry owns its name, and does not own the filter.
    unsafe {
        let end = non_null(ffi::avfilter_inout_alloc(), "avfilter_inout_alloc")?.as_ptr();
        (*end).name = ffi::av_strdup(name.as_ptr());
        (*end).filter_ctx = filter.as_ptr();
        (*end).pad_idx = 0;
        (*end).next = ptr::null_mut();
        Ok(end)
    }
}

/// What the source has to know of the pictures.
fn source_arguments(from: &VideoFormat, time_base: TimeBase) -> Result<String, Failure> {
    let VideoFormat { width, height, .. } = from;
    let format = kind::pixel_format(&from.pixel_format)?;
    let aspect = from.sample_aspect.map_or_else(|| "0/1".to_owned(), |aspect| aspect.to_string());
    let arguments =
        format!("video_size={width}x{height}:pix_fmt={format}:time_base={time_base}:pixel_aspect={aspect}");
    #[cfg(ffmpeg_7_0)]
    let arguments = {
        let kind::Color { range, space, .. } = kind::Color::of(&from.color);
        format!("{arguments}:range={range}:colorspace={space}")
    };
    Ok(arguments)
}
