//! How many connections are begun at once, so that outputs that are lost together do not come back as a storm.

use crate::error::Error;

/// Bounds of the dials of all outputs of an engine, by RTMP or another protocol. Outputs beyond them wait for their turn, those of one server in the order in
/// which they came; servers take turns. Waiting uses up none of the [deadlines](super::ConnectConfig) of a connection, and a
/// stop does not wait for it.
///
/// A server is a host and a port, as the address of the output says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DialLimits {
    /// Dials to one server that may be under way at once, from the name look-up to the server's answer to `publish`; at
    /// least 1. Default 32.
    pub per_server: usize,
    /// Dials that may be under way at once in all; at least 1. Make it much larger than
    /// [`per_server`](Self::per_server), or a few servers that do not answer delay the dials to all others. Default 256.
    pub total: usize,
    /// How often outputs may be dialled again at one server, per second, evenly spaced; 1 to 1000. First dials do not count.
    /// With the default, 200 outputs that one server lost are dialled within four seconds. Default 50.
    pub redials_per_second: u32,
}

crate::settings::settings!(DialLimits);

impl Default for DialLimits {
    fn default() -> Self {
        Self { per_server: 32, total: 256, redials_per_second: 50 }
    }
}

impl DialLimits {
    /// Refuses what cannot work.
    pub(super) fn check(&self) -> Result<(), Error> {
        let fail = |name, reason: &str| Err(Error::Config { name, reason: reason.to_owned() });
        if self.per_server == 0 || self.total == 0 {
            return fail("dials", "per_server and total must be at least 1");
        }
        if !(1..=1000).contains(&self.redials_per_second) {
            return fail("dials.redials_per_second", "must be 1 to 1000");
        }
        Ok(())
    }
}
