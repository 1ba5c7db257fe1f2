//! A connection while it is on the air, and its way back to the lobby.

use std::io;
use std::ops::{Deref, DerefMut};

use mio::Registry;

use crate::connection::Connection;

/// A connection that serves a stream. When the client has ended its stream, dropping this gives the connection back to the
/// lobby: the client closes it, or begins another stream on it.
#[derive(Debug)]
pub(crate) struct OnAir {
    /// `None` only while it is dropped.
    connection: Option<Connection>,
    goes_home: bool,
}

impl OnAir {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection: Some(connection), goes_home: false }
    }

    /// The client has ended its stream: the connection leaves this thread, and goes to the lobby when this is dropped.
    pub(crate) fn go_home(&mut self, registry: &Registry) -> io::Result<()> {
        self.deregister(registry)?;
        self.goes_home = true;
        Ok(())
    }
}

impl Deref for OnAir {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        self.connection.as_ref().expect("it is there until it is dropped")
    }
}

impl DerefMut for OnAir {
    fn deref_mut(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("it is there until it is dropped")
    }
}

impl Drop for OnAir {
    fn drop(&mut self) {
        if let Some(mut connection) = self.connection.take().filter(|_| self.goes_home) {
            connection.comes_off_air();
            let home = connection.home.clone();
            home.bring_back(connection);
        }
    }
}
