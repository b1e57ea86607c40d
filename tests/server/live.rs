//! Every command, against a Redis server that runs beside this one.

use std::io::BufReader;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::recorded::{different, is_same, read_reply, request_of, requests};
use super::server::{Server, skip};

/// Longer than it takes to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Redis server that keeps nothing, killed when it is dropped.
struct Redis {
    child: Child,
    port: u16,
    _dir: TempDir,
}

impl Redis {
    /// None: there is none here, or not the version that is compared with; said aloud.
    fn start() -> Option<Redis> {
        let version = Command::new("redis-server").arg("--version").output();
        let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
        match version {
            Ok(version) if version.contains("v=7.0.") => {}
            Ok(version) => {
                skip(&format!("no Redis 7.0 to compare with, but {}", version.trim()));
                return None;
            }
            Err(_) => {
                skip("there is no redis-server to compare with");
                return None;
            }
        }
        // Another process may take the port between the two.
        let started = (0..10).find_map(|_| Redis::start_at(free_port()));
        Some(started.expect("redis-server starts"))
    }

    fn start_at(port: u16) -> Option<Redis> {
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", "no", "--daemonize", "no", "--dir"])
            .arg(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut redis = Redis { child, port, _dir: dir };
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if redis.child.try_wait().unwrap().is_some() {
                return None;
            }
            if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Some(redis);
            }
            thread::sleep(Duration::from_millis(5));
        }
        panic!("redis-server takes no connections");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn the_server_replies_as_redis_does_now() {
    let Some(redis) = Redis::start() else {
        return;
    };
    let server = Server::start(&[]);
    let patient = |stream: TcpStream| {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        BufReader::new(stream)
    };
    let mut here = patient(server.connect());
    let mut there = patient(TcpStream::connect((Ipv4Addr::LOCALHOST, redis.port)).unwrap());
    let mut differing = Vec::new();
    let mut last = "";
    for line in requests() {
        let request = request_of(line);
        let [found, expected] = [&mut here, &mut there].map(|stream| {
            let mut reply = Vec::new();
            std::io::Write::write_all(stream.get_mut(), &request).unwrap();
            read_reply(stream, &mut reply);
            reply.escape_ascii().to_string()
        });
        let is_same = is_same(line, &found, &expected) || is_same(line, &expected, &found);
        if !is_same && different(last, line) != Some(found.as_str()) {
            differing.push(format!("{line}\n  here  {found}\n  Redis {expected}"));
        }
        last = line;
    }
    assert!(differing.is_empty(), "{} differ:\n{}", differing.len(), differing.join("\n"));
}
