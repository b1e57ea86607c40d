//! The address that clients connect to, and what is asked of their connections.
//!
//! It is bound first, so that an address in use is found before anything else is done, and
//! listened on only when there is an engine: until then, clients are refused, not kept waiting.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};

use super::config::Config;

/// How many connections the operating system keeps until they are accepted.
pub(crate) const BACKLOG: u32 = 1024;

/// Takes an address, without listening on it.
pub(crate) fn bind(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // What is left of the connections of an earlier server does not hold the address.
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Sets up a connection that was accepted: replies leave at once, and a peer that is gone is
/// found out in the end.
pub(crate) fn set_up(stream: &TcpStream, config: &Config) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if config.tcp_keepalive_ms > 0 {
        let time = Duration::from_secs(config.tcp_keepalive_ms.div_ceil(1000));
        // Three questions, a third of the time apart, as Redis does.
        let interval = Duration::from_secs((time.as_secs() / 3).max(1));
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(interval);
        SockRef::from(stream).set_tcp_keepalive(&keepalive.with_retries(3))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::net::TcpStream;

    use super::super::config::Config;
    use super::{BACKLOG, bind, set_up};

    #[tokio::test]
    async fn an_address_has_one_listener_and_none_until_it_listens() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = first.local_addr().unwrap();
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let _listener = first.listen(BACKLOG).unwrap();
        assert_eq!(bind(addr).unwrap_err().kind(), ErrorKind::AddrInUse);
        TcpStream::connect(addr).await.unwrap();
    }

    #[tokio::test]
    async fn a_connection_is_set_up_as_configured() {
        // Some machines have no IPv6.
        let bound = bind("[::1]:0".parse().unwrap());
        let bound = bound.or_else(|_| bind("127.0.0.1:0".parse().unwrap()));
        let listener = bound.unwrap().listen(BACKLOG).unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut config = Config { tcp_keepalive_ms: 0, ..Config::default() };
        set_up(&stream, &config).unwrap();
        assert!(!SockRef::from(&stream).keepalive().unwrap());
        config.tcp_keepalive_ms = 1500;
        set_up(&stream, &config).unwrap();
        let socket = SockRef::from(&stream);
        assert!(stream.nodelay().unwrap() && socket.keepalive().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(2));
    }
}
