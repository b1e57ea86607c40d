//! Requests that are no steps: those about the connection, the engine and streams.

use std::sync::Arc;
use std::time::Instant;

use super::{Session, commands, nanos_since};
use crate::engine::{self, EngineStats};
use crate::error::KvsError;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{
    AuthResponse, Error, Figure, PingResponse, StatsResponse, SyncResponse,
};
use crate::protocol::proto::reply;
use crate::protocol::proto::request::{Command, Refusal, Request};

impl Session {
    /// Answers a request that is no step.
    pub(super) async fn answer(&mut self, request: Request) -> Result<(), Refusal> {
        let Request { id, command } = request;
        let (begun, number, name) =
            (Instant::now(), commands::number(&command), commands::name(&command));
        let answered = self.kind(id, command).await;
        let nanos = nanos_since(begun);
        self.shared.metrics.record(number, nanos);
        self.note(nanos, 1, || vec![name.as_bytes().to_vec()]);
        self.peer.about().last_command = name;
        match answered {
            Ok(None) => {}
            Ok(Some(kind)) => reply::put(&mut self.replies.0, self.frame_bytes_max, id, kind),
            Err(error) => {
                self.shared.metrics.record_error(number);
                return Err(Refusal { id, error });
            }
        }
        Ok(())
    }

    /// The answer; none: it comes later, or there is none.
    async fn kind(&mut self, id: u64, command: Command) -> Result<Option<Kind>, Error> {
        let engine = Arc::clone(&self.shared.engine);
        let failed = |error: KvsError| Error::of(&error, false);
        let limit = self.frame_bytes_max;
        Ok(Some(match command {
            Command::Hello(hello) => Kind::Hello(self.hello(hello)?),
            Command::Auth { password } => {
                self.auth(&password)?;
                Kind::Auth(AuthResponse {})
            }
            Command::Ping { payload } => {
                Kind::Ping(PingResponse { payload, now_ms: engine.now_ms() })
            }
            Command::Stats => Kind::Stats(response(engine.stats().await.map_err(failed)?)),
            Command::Sync => {
                engine.sync().await.map_err(failed)?;
                Kind::Sync(SyncResponse {})
            }
            Command::Scan(scan) => {
                self.streams.scan(id, scan, limit).await?;
                return Ok(None);
            }
            Command::Watch(watch) => {
                Kind::WatchStarted(self.streams.watch(id, watch, limit).await?)
            }
            Command::Grant { pages } => {
                self.streams.grant(id, pages);
                return Ok(None);
            }
            Command::Cancel => return Ok(self.streams.cancel(id).map(Kind::StreamEnd)),
            // It became a step when it was taken.
            Command::Keys(_) => return Ok(None),
        }))
    }
}

fn response(stats: EngineStats) -> StatsResponse {
    StatsResponse {
        keys: stats.keys,
        expiring_keys: stats.expiring_keys,
        disk_bytes: stats.disk_bytes,
        index_bytes: stats.index_bytes,
        figures: stats.figures.into_iter().map(figure).collect(),
    }
}

fn figure(figure: engine::Figure) -> Figure {
    let engine::Figure { name, help, is_counter, value } = figure;
    Figure { name: name.to_owned(), help: help.to_owned(), is_counter, value }
}
