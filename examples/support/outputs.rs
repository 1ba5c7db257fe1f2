//! Where the examples send streams to: `--to`, `--record`, `--existing`, `--ca`.

use flowcast::{Existing, NoOutput, Output, Ready, StreamBuilder, TlsRoots};

use super::Result;
use super::args::Args;

/// What becomes of files that are there already.
pub fn existing(args: &Args) -> Result<Existing> {
    match args.last::<String>("--existing")?.as_deref() {
        None | Some("number") => Ok(Existing::Number),
        Some("append") => Ok(Existing::Append),
        Some("replace") => Ok(Existing::Replace),
        Some("refuse") => Ok(Existing::Refuse),
        Some(other) => Err(format!("--existing {other}: number, append, replace or refuse").into()),
    }
}

/// Gives a stream the outputs that were asked for; `{}` in them becomes `number`.
pub fn add(builder: StreamBuilder<NoOutput>, args: &Args, number: usize) -> Result<StreamBuilder<Ready>> {
    let numbered = |text: &str| text.replace("{}", &number.to_string());
    let roots = match args.last::<String>("--ca")? {
        Some(path) => TlsRoots::from_pem_file(path)?,
        None => TlsRoots::Platform,
    };
    let pushes =
        args.all("--to").into_iter().map(|url| Output::rtmp_url(&numbered(url)).tls_roots(roots.clone()));
    let existing = existing(args)?;
    let records =
        args.all("--record").into_iter().map(|path| Output::record(numbered(path)).existing(existing));
    let mut outputs = pushes.chain(records);
    let first = outputs.next().ok_or("where to? give --to or --record (--help tells more)")?;
    Ok(outputs.fold(builder.to(first), |builder, output| builder.to(output)))
}
