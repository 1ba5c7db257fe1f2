//! The sockets a server listens on: one or two, each plain or RTMPS.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Registry, Token};

use crate::config::{DEFAULT_PORT, RTMPS_PORT};
use crate::error::Error;

/// A new connection at a door.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) socket: TcpStream,
    pub(crate) peer: SocketAddr,
    /// It has to begin with a TLS handshake.
    pub(crate) secure: bool,
}

/// One listening socket.
#[derive(Debug)]
pub(crate) struct Door {
    listener: TcpListener,
    secure: bool,
}

impl Door {
    /// Listens on the first address of `address`; also returns which that is.
    pub(crate) fn open(address: &str, secure: bool) -> Result<(Self, SocketAddr), Error> {
        let unknown =
            |source: io::Error| Error::Address { address: address.to_owned(), source: source.into() };
        let port = if secure { RTMPS_PORT } else { DEFAULT_PORT };
        let mut addresses = resolve(address, port).map_err(unknown)?;
        let address = addresses.next().ok_or_else(|| unknown(io::ErrorKind::NotFound.into()))?;
        let listen = |source: io::Error| Error::Listen { address, source: source.into() };
        let listener = TcpListener::bind(address).map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok((Self { listener, secure }, address))
    }
}

/// All of them.
#[derive(Debug)]
pub(crate) struct Doors {
    doors: Vec<Door>,
    /// The door that comes first next time, so that a crowd at one door does not block the other.
    turn: usize,
}

impl Doors {
    pub(crate) fn new(doors: Vec<Door>) -> Self {
        Self { doors, turn: 0 }
    }

    /// The tokens are `first` and those after it.
    pub(crate) fn register(&mut self, registry: &Registry, first: Token) -> io::Result<()> {
        for (number, door) in self.doors.iter_mut().enumerate() {
            registry.register(&mut door.listener, Token(first.0 + number), Interest::READABLE)?;
        }
        Ok(())
    }

    /// The next connection at any door; `WouldBlock` if there is none.
    pub(crate) fn accept(&mut self) -> io::Result<Arrival> {
        for _ in 0..self.doors.len() {
            self.turn = (self.turn + 1) % self.doors.len();
            let Some(door) = self.doors.get(self.turn) else { continue };
            match door.listener.accept() {
                Ok((socket, peer)) => return Ok(Arrival { socket, peer, secure: door.secure }),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::WouldBlock.into())
    }
}

/// The addresses of `host:port` or `host`.
fn resolve(address: &str, port: u16) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let bare = address.trim_start_matches('[').trim_end_matches(']');
    let has_port =
        address.rsplit_once(':').is_some_and(|(host, _)| !host.contains(':') || host.ends_with(']'));
    if has_port { address.to_socket_addrs() } else { (bare, port).to_socket_addrs() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_port_has_the_usual_one() {
        let port = |address: &str| resolve(address, DEFAULT_PORT).ok()?.next().map(|address| address.port());
        for address in ["127.0.0.1", "::1", "[::1]", "0.0.0.0"] {
            assert_eq!(port(address), Some(1935), "{address}");
        }
        for address in ["127.0.0.1:80", "[::1]:80"] {
            assert_eq!(port(address), Some(80), "{address}");
        }
        assert_eq!((port("127.0.0.1:x"), port("")), (None, None));
    }
}
