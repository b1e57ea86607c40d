//! The servers as processes: found, started on a free port, killed and waited for at the end.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::REDIS;
use super::resp::Connection;
use crate::engine::{Durability, Res};
use crate::machine;

/// How long a server has to answer after its start.
const START: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(10);

pub struct Programs {
    kvs_server: PathBuf,
    worker_threads: u32,
    redis_server: PathBuf,
    pub redis_benchmark: PathBuf,
}

impl Programs {
    /// Finds the programs of Redis, and builds the server of this source where none is given.
    pub fn find(kvs_server: Option<PathBuf>, worker_threads: u32) -> Res<Programs> {
        let (redis_server, redis_benchmark) =
            (on_path("redis-server")?, on_path("redis-benchmark")?);
        let kvs_server = match kvs_server {
            Some(path) if path.is_file() => path,
            Some(path) => return Err(format!("there is no {}", path.display()).into()),
            None => built()?,
        };
        Ok(Programs { kvs_server, worker_threads, redis_server, redis_benchmark })
    }

    pub fn redis_version(&self) -> Res<String> {
        let program = self.redis_server.to_string_lossy();
        let line = machine::first_line(&program, &["--version"]).unwrap_or_default();
        let version = line.split(' ').find_map(|word| word.strip_prefix("v="));
        Ok(version.ok_or("redis-server does not tell its version")?.to_string())
    }
}

fn on_path(program: &str) -> Res<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|dir| dir.join(program)).find(|it| it.is_file());
    found.ok_or_else(|| {
        format!("{program} is not on the PATH: Debian has it in redis-server and redis-tools")
            .into()
    })
}

/// The server of this source, built with the cargo that runs this program.
fn built() -> Res<PathBuf> {
    const COMMAND: &str = "cargo build --release --bin kvs-server";
    let beside = std::env::current_exe()?.with_file_name("kvs-server");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(COMMAND.split(' ').skip(1))
        .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
        .status();
    match status {
        Ok(status) if status.success() && beside.is_file() => Ok(beside),
        _ => Err(format!("there is no kvs-server: `{COMMAND}`, or say --server PATH").into()),
    }
}

/// A server that runs. It is killed and its data removed when this is dropped; it is killed too
/// when this process is.
pub struct Process {
    child: Child,
    pub addr: SocketAddr,
    dir: TempDir,
}

impl Process {
    /// Starts the server `name` on an empty directory below `dir`, and waits until it answers.
    pub fn start(
        programs: &Programs,
        name: &str,
        durability: Durability,
        dir: &Path,
    ) -> Res<Process> {
        let dir = TempDir::with_prefix_in("kvs-bench-", dir)?;
        let data = dir.path().join("data");
        std::fs::create_dir(&data)?;
        let addr = free_address()?;
        let mut command = match name {
            REDIS => redis(&programs.redis_server, durability, addr),
            _ => kvs(programs, durability, addr),
        };
        kill_with_parent(&mut command);
        let log = File::create(dir.path().join("log"))?;
        let child = command
            .arg("--dir")
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("cannot start {name}: {error}"))?;
        let mut process = Process { child, addr, dir };
        process.wait_until_it_answers()?;
        Ok(process)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait_until_it_answers(&mut self) -> Res<()> {
        let begun = Instant::now();
        loop {
            let answer = Connection::open(self.addr).and_then(|mut it| it.ask(&["PING"]));
            let Err(error) = answer else {
                return Ok(());
            };
            if self.child.try_wait()?.is_some() || begun.elapsed() > START {
                let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
                return Err(format!("the server does not answer: {error}; its log: {log}").into());
            }
            thread::sleep(LOOK);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It fails only if the process has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kvs(programs: &Programs, durability: Durability, addr: SocketAddr) -> Command {
    let durability = match durability {
        Durability::Os => "interval",
        Durability::Synced => "always",
    };
    let mut command = Command::new(&programs.kvs_server);
    command.args(["--addr", &addr.to_string(), "--engine", "kvs"]);
    command.args(["--worker-threads", &programs.worker_threads.to_string()]);
    command.args(["--durability", durability, "--sync-interval-ms", "1000"]);
    command
}

fn redis(program: &Path, durability: Durability, addr: SocketAddr) -> Command {
    let appendfsync = match durability {
        Durability::Os => "everysec",
        Durability::Synced => "always",
    };
    let mut command = Command::new(program);
    command.args(["--bind", &addr.ip().to_string(), "--port", &addr.port().to_string()]);
    command.args(["--appendonly", "yes", "--appendfsync", appendfsync, "--save", ""]);
    command
}

/// Has the system kill a process when the thread that starts it ends, as it does by a signal.
fn kill_with_parent(command: &mut Command) {
    let ask = || {
        // SAFETY: prctl is a plain system call, and these arguments name no memory.
        match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    };
    // SAFETY: between fork and exec, the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(ask) };
}

/// An address of this machine where nobody listened a moment ago.
fn free_address() -> Res<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
