//! The RTMP server of the file: for who publishes, and who plays.

use flowcast::server::{RtmpServerBuilder, TlsIdentity};
use flowcast::{Engine, RtmpServer, RtmpServerExt};

use crate::file::ServerTable;
use crate::support::Result;
use crate::support::print::out;

/// Starts it, as `change` has it, and says where it listens.
pub(crate) fn serve(
    engine: &Engine,
    table: &ServerTable,
    change: impl FnOnce(RtmpServerBuilder) -> Result<RtmpServerBuilder>,
) -> Result<RtmpServer> {
    let server = change(engine.rtmp_server(&table.listen))?;
    let server = match (&table.rtmps, &table.tls) {
        (Some(address), Some([chain, key])) => {
            server.rtmps(address, TlsIdentity::from_pem_files(chain, key)?)
        }
        _ => server,
    };
    let server = server.start()?;
    out!("listening on rtmp://{}/live", server.address())?;
    if let Some(address) = server.rtmps_address() {
        out!("listening on rtmps://{address}/live")?;
    }
    Ok(server)
}
