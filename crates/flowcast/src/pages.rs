//! The programs in README.md and docs/jobs, compiled as doc tests. Not part of the library.

macro_rules! pages {
    ($($name:ident $path:literal)+) => {
        $(
            #[doc = include_str!(concat!("../../../", $path))]
            mod $name {}
        )+
    };
}

pages! {
    readme "README.md"
    looping "docs/jobs/loop.md"
    restreaming "docs/jobs/restream.md"
    standing_in "docs/jobs/standby.md"
    publishing_fragments "docs/jobs/fragments.md"
    drawing "docs/jobs/frames.md"
    changing "docs/jobs/outputs.md"
    recording "docs/jobs/record.md"
    sending "docs/jobs/url.md"
    segmenting "docs/jobs/hls.md"
    seeing "docs/jobs/thumbnails.md"
    overlaying "docs/jobs/overlays.md"
    mixing "docs/jobs/mix.md"
    adapting "docs/jobs/adaptation.md"
    sizing "docs/jobs/renditions.md"
    leveling "docs/jobs/loudness.md"
    scheduling "docs/jobs/schedule.md"
    pulling "docs/jobs/pull.md"
    relaying "docs/jobs/relay.md"
    serving "docs/jobs/serve.md"
    judging "docs/jobs/judge.md"
    preparing "docs/jobs/prepare.md"
    resuming "docs/jobs/resume.md"
    watching "docs/jobs/watch.md"
    billing "docs/jobs/bill.md"
    admitting "docs/jobs/admission.md"
    awaiting "docs/jobs/async.md"
}
