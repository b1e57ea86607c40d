//! Accepts connections and serves them until the server is to end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tracing::{debug, warn};

use super::link::{Awaited, Broken, Link, Transport, Turn};
use super::listener;
use super::metrics::{CloseReason, Protocol, RefusalReason};
use super::peer::{Entered, Order};
use super::proto_session;
use super::resp_session;
use super::serve::Started;
use super::shared::{Shared, TICK};
use super::tls::Tls;
use super::turn_away;

/// How long nothing is accepted when the operating system has run out of something.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves the connections of a server until it is to end and all of them have ended.
pub async fn run(started: Started) {
    let shared = Arc::new(Shared::new(&started));
    let Started { listener, tls, shutdown, .. } = started;
    let mut connections = JoinSet::new();
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.draining() => break,
            _ = ticks.tick() => shared.tick(),
            accepted = listener.accept() => match accepted {
                Ok((stream, addr)) => {
                    let (shared, tls) = (Arc::clone(&shared), tls.clone());
                    accept(&mut connections, shared, tls, stream, addr);
                    // Where one comes after the other, this is the only turn of those that ended.
                    while connections.try_join_next().is_some() {}
                }
                Err(error) => pause(&shared, &error).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    shared.peers.all().iter().for_each(|peer| peer.finish());
    loop {
        tokio::select! {
            _ = ticks.tick() => shared.tick(),
            ended = connections.join_next() => if ended.is_none() {
                break;
            },
        }
    }
}

/// A connection that was gone before it was accepted is no concern; where there are no more
/// descriptors, trying again at once would only burn time.
async fn pause(shared: &Shared, error: &io::Error) {
    shared.metrics.refused(RefusalReason::Accept);
    let is_of_one = matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    );
    if !is_of_one {
        warn!("cannot accept a connection: {error}");
        sleep(PAUSE).await;
    }
}

fn accept(
    connections: &mut JoinSet<()>,
    shared: Arc<Shared>,
    tls: Option<Arc<Tls>>,
    stream: TcpStream,
    addr: SocketAddr,
) {
    if shared.peers.len() >= shared.config.connections_max {
        shared.metrics.refused(RefusalReason::ConnectionsMax);
        // Where TLS is spoken it would not be understood.
        if tls.is_none()
            && let Ok(place) = Arc::clone(&shared.turned_away).try_acquire_owned()
        {
            connections.spawn(async move {
                turn_away::tell(stream).await;
                drop(place);
            });
        }
        return;
    }
    let set_up = listener::set_up(&stream, &shared.config).and_then(|()| stream.local_addr());
    let Ok(local_addr) = set_up else {
        return;
    };
    let entered = shared.peers.enter(addr, local_addr);
    connections.spawn(async move {
        let connected = shared.metrics.connected();
        let served = serve(&shared, tls, stream, &entered, |protocol| connected.speaks(protocol));
        match served.await {
            Ok(()) if entered.peer.order() == Order::Finish => {
                shared.metrics.closed(CloseReason::Shutdown);
            }
            Ok(()) | Err(Broken::Io) => {}
            Err(Broken::Closed(reason)) => {
                debug!(client = %addr, "closed: {}", reason.name());
                shared.metrics.closed(reason);
            }
        }
    });
}

/// Serves a connection to its end.
async fn serve(
    shared: &Arc<Shared>,
    tls: Option<Arc<Tls>>,
    stream: TcpStream,
    entered: &Entered,
    speaks: impl Fn(Protocol),
) -> Result<(), Broken> {
    let peer = &entered.peer;
    let config = &shared.config;
    let handshake_ms = config.handshake_timeout_ms;
    if handshake_ms > 0 {
        let deadline_ms = shared.coarse_ms().saturating_add(handshake_ms);
        peer.wait_until(deadline_ms, CloseReason::Handshake);
    }
    let transport = match tls {
        None => Transport::Plain(stream),
        Some(tls) => {
            let time = match handshake_ms {
                0 => Duration::MAX,
                time_ms => Duration::from_millis(time_ms),
            };
            match timeout(time, tls.acceptor().accept(stream)).await {
                Ok(Ok(stream)) => Transport::Tls(Box::new(stream)),
                Ok(Err(error)) => {
                    debug!(client = %peer.addr, "the TLS handshake failed: {error}");
                    shared.metrics.refused(RefusalReason::Tls);
                    return Ok(());
                }
                Err(_) => return Err(Broken::Closed(CloseReason::Handshake)),
            }
        }
    };
    let mut link = Link::new(transport, Arc::clone(shared), Arc::clone(peer));
    // Whoever needs no login may stay silent as long as it likes.
    let awaited = match shared.password {
        Some(_) => Awaited::Login,
        None => Awaited::Request,
    };
    if link.read(&mut Vec::new(), awaited).await? == Turn::Ended {
        return Ok(());
    }
    // A frame of ours is shorter than 16 MiB at first, so its length begins with 0; no command of
    // Redis does.
    let served = if link.input.first() == Some(&0) {
        speaks(Protocol::Kvs);
        link.speaks(Protocol::Kvs);
        proto_session::serve(&mut link).await
    } else {
        speaks(Protocol::Resp);
        resp_session::serve(&mut link).await
    };
    let is_misunderstood = matches!(served, Err(Broken::Closed(CloseReason::Protocol)));
    link.end(served.is_ok() || is_misunderstood).await;
    if is_misunderstood {
        link.drain().await;
    }
    served
}
