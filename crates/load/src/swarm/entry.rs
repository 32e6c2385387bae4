//! How a connection comes in: from a local address with ports to spare, with a token of its own.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsRawFd,
};

use mio::net::TcpStream;
use socket2::{Domain, Socket, Type};

use super::trickle;
use crate::{LoadError, Target};

/// Connections per local address: a tuple has 28,000 ports, and looking for the last ones is slow.
const PER_ADDRESS: usize = 8_000;

/// Begins to connect; `number` is the connection's own in the whole run. A slow one has little room in its kernel.
pub(crate) fn connect(address: SocketAddr, number: usize, is_slow: bool) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), None)?;
    socket.set_tcp_nodelay(true)?;
    if is_slow {
        // Before connect: the window that is offered follows from it.
        socket.set_recv_buffer_size(trickle::RECEIVE_BUFFER)?;
        socket.set_tcp_mss(trickle::SEGMENT)?;
    }
    if let IpAddr::V4(ip) = address.ip()
        && ip.is_loopback()
    {
        // The port is chosen at connect, where the whole tuple counts.
        let on: libc::c_int = 1;
        // SAFETY: the descriptor is open, the pointer and length are of `on`.
        unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::IPPROTO_IP,
                libc::IP_BIND_ADDRESS_NO_PORT,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            );
        }
        socket.bind(&SocketAddr::from((local_address(number), 0)).into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

/// 127.0.0.2 and on; 127.0.0.1 is left to the server.
fn local_address(number: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::LOCALHOST.to_bits() + 1 + (number / PER_ADDRESS) as u32)
}

/// The token a connection sends.
pub(crate) enum Tokens {
    None,
    One(String),
    Made(String),
}

impl Tokens {
    pub(crate) fn of(target: &Target) -> Self {
        match (&target.token, &target.secret) {
            (Some(token), _) => Self::One(token.clone()),
            (None, Some(secret)) => Self::Made(secret.clone()),
            (None, None) => Self::None,
        }
    }

    pub(crate) fn make(&self, number: usize) -> Result<String, LoadError> {
        match self {
            Self::None => Ok(String::new()),
            Self::One(token) => Ok(token.clone()),
            Self::Made(secret) => make_token(secret, number),
        }
    }
}

fn make_token(secret: &str, number: usize) -> Result<String, LoadError> {
    let claims = serde_json::json!({
        "sub": format!("load-{number}"),
        "exp": 4_102_444_800u64,
        "grants": [{"rooms": ["*"], "can": ["join", "publish", "presence", "history"]}],
    });
    let key = jsonwebtoken::EncodingKey::from_secret(secret.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key);
    token.map_err(|error| LoadError::Token(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_on_past_the_last_of_a_network_of_256() {
        let addresses = [0, 7_999, 8_000, 254 * 8_000].map(local_address);
        let expected = [[127, 0, 0, 2], [127, 0, 0, 2], [127, 0, 0, 3], [127, 0, 1, 0]];
        assert_eq!(addresses, expected.map(Ipv4Addr::from));
    }
}
