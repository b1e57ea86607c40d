//! `kvs-server` under load over both protocols.

use std::io;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::Duration;

use kvs::protocol::proto::messages::expiry::When;
use kvs::protocol::proto::messages::operation::Kind as Part;
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    BatchRequest, Durability, Expiry, Operation as Step, RemoveOperation, RemoveRequest,
    SetOperation, SetRequest, SyncRequest,
};

use tempfile::tempdir;

use super::examine::{copy_files, examine};
use super::frames::Frames;
use super::oracle::{Progress, State, Writer};
use super::proof::{Checked, prove};
use super::random::Random;
use super::redis::{Redis, Reply};
use super::script::{Change, Operation, What, operation};
use super::server::{Server, command};

const QUICK_KILLS: u64 = 100;
/// Of the same server.
const ROUNDS: u64 = 10;
/// Half of them over each protocol.
const WRITERS: usize = 4;
const PIPELINE_MAX: u64 = 16;

/// One of the two protocols, as far as the load needs it.
enum Connection {
    Redis(Redis),
    Frames(Frames, Random),
}

impl Connection {
    fn connect(writer: usize, addr: SocketAddr, seed: u64) -> io::Result<Connection> {
        Ok(if writer.is_multiple_of(2) {
            Connection::Redis(Redis::connect(addr)?)
        } else {
            Connection::Frames(Frames::connect(addr)?, Random::new(seed))
        })
    }

    fn add(&mut self, operation: &Operation) {
        match self {
            Connection::Redis(redis) => add_commands(redis, operation),
            Connection::Frames(frames, random) => {
                let durability = match random.below(6) {
                    0 => Durability::Always,
                    1 => Durability::Os,
                    _ => Durability::Unspecified,
                };
                frames.add(asked(operation, durability));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Connection::Redis(redis) => redis.flush(),
            Connection::Frames(frames, _) => frames.flush(),
        }
    }

    /// Waits for the acknowledgement of an operation.
    fn acknowledged(&mut self, operation: &Operation) -> io::Result<()> {
        match self {
            Connection::Redis(redis) => {
                let replies = match operation {
                    Operation::Batch(changes) => changes.len() + 2,
                    _ => 1,
                };
                for _ in 0..replies {
                    let reply = redis.reply()?;
                    assert!(!matches!(reply, Reply::Error(_) | Reply::Null), "{reply:?}");
                }
            }
            Connection::Frames(frames, _) => {
                let response = frames.response()?;
                assert!(matches!(response, Kind::Write(_) | Kind::Sync(_)), "{response:?}");
            }
        }
        Ok(())
    }
}

fn add_commands(redis: &mut Redis, operation: &Operation) {
    let is_batch = matches!(operation, Operation::Batch(_));
    if is_batch {
        redis.add(&["MULTI"]);
    }
    for Change { key, what } in operation.changes() {
        match what {
            What::Set { value, expires_at_ms: Some(at) } => {
                let at = at.to_string();
                redis.add::<&[u8]>(&[b"SET", key, value, b"PXAT", at.as_bytes()]);
            }
            What::Set { value, expires_at_ms: None } => redis.add::<&[u8]>(&[b"SET", key, value]),
            What::Remove => redis.add::<&[u8]>(&[b"DEL", key]),
        }
    }
    match operation {
        Operation::Batch(_) => redis.add(&["EXEC"]),
        Operation::Sync => redis.add(&["PING"]),
        Operation::One(_) => (),
    }
}

fn asked(operation: &Operation, durability: Durability) -> Asked {
    let durability = durability.into();
    let expiry = |at: Option<u64>| at.map(|at| Expiry { when: Some(When::AtMs(at)) });
    match operation {
        Operation::One(Change { key, what }) => {
            let key = key.clone().into();
            match what {
                What::Set { value, expires_at_ms } => Asked::Set(SetRequest {
                    key,
                    value: value.clone().into(),
                    expiry: expiry(*expires_at_ms),
                    durability,
                    ..SetRequest::default()
                }),
                What::Remove => {
                    Asked::Remove(RemoveRequest { key, durability, ..RemoveRequest::default() })
                }
            }
        }
        Operation::Batch(changes) => {
            let step = |Change { key, what }: &Change| {
                let key = key.clone().into();
                let kind = match what {
                    What::Set { value, expires_at_ms } => {
                        let (value, expiry) = (value.clone().into(), expiry(*expires_at_ms));
                        Part::Set(SetOperation { key, value, expiry })
                    }
                    What::Remove => Part::Remove(RemoveOperation { key }),
                };
                Step { kind: Some(kind) }
            };
            let operations = changes.iter().map(step).collect();
            Asked::Batch(BatchRequest { operations, durability, ..BatchRequest::default() })
        }
        Operation::Sync => Asked::Sync(SyncRequest::default()),
    }
}

#[test]
fn a_killed_server_loses_nothing_acknowledged() {
    prove("kills::served", QUICK_KILLS, |seed| {
        let mut random = Random::new(seed);
        let durability = ["os", "interval", "always"][usize::try_from(seed % 3).unwrap()];
        let index = *random.choose(&["hash", "ordered"]);
        let args = ["--durability", durability, "--index", index, "--segment-bytes", "4096"];
        let args = [&args[..], &["--sync-interval-ms", "5", "--ballast-bytes", "0"]].concat();
        let mut server = Server::start(&args);
        let mut writers: Vec<Writer> = (0..WRITERS).map(|index| Writer::new(seed, index)).collect();
        let mut kills = 0;
        for round in 0..ROUNDS {
            let acknowledgements =
                1 + random.below(if durability == "always" { 300 } else { 1500 });
            let delay = Duration::from_micros(random.below(1000));
            let progress = load(&mut server, seed, &writers, acknowledgements, delay);
            kills += 1;
            let data = server.path("data");
            let failed = |wrong| {
                let kept = tempdir().unwrap().keep();
                copy_files(&data, &kept);
                let kept = kept.display();
                format!("round {round}, {durability}, {index}: {wrong}; kept {kept}")
            };
            let found = examine(&data, &mut random).map_err(failed)?;
            for (writer, progress) in writers.iter_mut().zip(progress) {
                writer.settle(&found, progress).map_err(failed)?;
            }
            if random.one_in(8) {
                kill_while_opening(&server, &args, random.below(20_000));
                kills += 1;
            }
            server.start_again(&args);
            served(&server, &found).map_err(failed)?;
        }
        Ok(kills)
    });
}

/// Writes over all connections until so much is acknowledged, and the server is killed.
fn load(
    server: &mut Server,
    seed: u64,
    writers: &[Writer],
    acknowledgements: u64,
    delay: Duration,
) -> Vec<Progress> {
    let (tell, heard) = mpsc::channel();
    let addr = server.addr;
    thread::scope(|scope| {
        let write = |(index, writer): (usize, &Writer)| {
            let (tell, next) = (tell.clone(), writer.next);
            scope.spawn(move || write_on(addr, seed, index, next, &tell))
        };
        let threads: Vec<_> = writers.iter().enumerate().map(write).collect();
        drop(tell);
        for _ in 0..acknowledgements {
            heard.recv().expect("every writer has ended, and nobody was killed");
        }
        // This waits for nothing: it is the moment that was chosen.
        thread::sleep(delay);
        server.kill();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Writes operations in pipelines until the connection breaks off.
fn write_on(addr: SocketAddr, seed: u64, index: usize, next: u64, tell: &Sender<()>) -> Progress {
    let mut progress = Progress { acknowledged: next - 1, begun: next - 1 };
    let Ok(mut connection) = Connection::connect(index, addr, seed ^ next) else {
        return progress;
    };
    let mut random = Random::of(seed, next);
    loop {
        let count = 1 + random.below(PIPELINE_MAX);
        let numbers = progress.begun + 1..=progress.begun + count;
        let operations: Vec<_> = numbers.map(|number| operation(seed, index, number)).collect();
        operations.iter().for_each(|operation| connection.add(operation));
        progress.begun += count;
        // Where it breaks off, what was sent before may still be answered.
        let _ = connection.flush();
        for operation in &operations {
            if connection.acknowledged(operation).is_err() {
                return progress;
            }
            progress.acknowledged += 1;
            // Once it hears enough, the other side no longer listens.
            let _ = tell.send(());
        }
    }
}

/// Starts a server on the same directory, and kills it so soon after.
fn kill_while_opening(server: &Server, args: &[&str], after_us: u64) {
    let mut command = command(&server.dir, "127.0.0.1:0", args);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // This waits for nothing: it is the moment that was chosen.
    thread::sleep(Duration::from_micros(after_us));
    child.kill().unwrap();
    child.wait().unwrap();
}

/// Checks that the server serves what its directory held.
fn served(server: &Server, state: &State) -> Checked<()> {
    let broken = |error: io::Error| format!("after a restart: {error}");
    let mut redis = Redis::connect(server.addr).map_err(broken)?;
    let keys = i64::try_from(state.len()).unwrap();
    let size = redis.ask(&["DBSIZE"]).map_err(broken)?;
    if size != Reply::Integer(keys) {
        return Err(format!("after a restart there are {size:?} keys, not {keys}"));
    }
    for (key, (value, _)) in state {
        let found = redis.ask::<&[u8]>(&[b"GET", key]).map_err(broken)?;
        if found != Reply::Bulk(value.clone()) {
            let key = String::from_utf8_lossy(key);
            return Err(format!("after a restart {key:?} is another: {found:?}"));
        }
    }
    Ok(())
}
