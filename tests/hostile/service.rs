//! The server as a service: what systemd is told, signals, and what `packaging/` and the Dockerfile
//! say of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::client::{Client, End};
use super::process::{PATIENCE, wait_until};
use super::programs::{is_there, program, run};
use super::server::{Server, command};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The socket of a service manager. Whatever comes is taken at once: where nobody reads, a server
/// waits.
struct Notices {
    told: Receiver<String>,
    dir: tempfile::TempDir,
}

impl Notices {
    fn new() -> Notices {
        let dir = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let (tell, told) = mpsc::channel();
        thread::spawn(move || {
            let mut notice = [0; 4096];
            while let Ok(length @ 1..) = socket.recv(&mut notice) {
                // At the end nobody wants to know.
                let _ = tell.send(String::from_utf8_lossy(&notice[..length]).into_owned());
            }
        });
        Notices { told, dir }
    }

    fn path(&self) -> String {
        self.dir.path().join("notify").to_str().unwrap().to_owned()
    }

    /// Waits for a notice with this line; all of it.
    #[track_caller]
    fn wait_for(&self, line: &str) -> String {
        loop {
            let notice = self.told.recv_timeout(PATIENCE).unwrap_or_else(|error| {
                panic!("{line}: {error}");
            });
            if notice.lines().any(|it| it == line) {
                return notice;
            }
        }
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        // An empty notice ends the one who reads.
        let _ = UnixDatagram::unbound().and_then(|it| it.send_to(b"", self.path()));
    }
}

#[test]
fn a_service_manager_is_told_of_the_beginning_and_the_end() {
    let notices = Notices::new();
    let path = notices.path();
    let variables = [("NOTIFY_SOCKET", path.as_str()), ("WATCHDOG_USEC", "100000")];
    let mut server = Server::start_with(&[], &variables);
    let ready = notices.wait_for("READY=1");
    assert!(ready.contains(&format!("STATUS=listening on {}", server.addr)), "{ready}");
    notices.wait_for("WATCHDOG=1");
    let mut client = Client::connect(&server);
    client.ping();
    server.terminate();
    notices.wait_for("STOPPING=1");
    assert_eq!(client.expect_end(), "");
    assert!(server.wait().success());
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let notices = Notices::new();
    let path = notices.path();
    let args = ["--shutdown-timeout-ms", "3600000", "--request-timeout-ms", "0"];
    let mut server = Server::start_with(&args, &[("NOTIFY_SOCKET", &path)]);
    let mut greedy = Client::connect(&server);
    greedy.set_long("long", 10 << 20);
    greedy.send(&b"GET long\r\n".repeat(100));
    // It waits for this one, which reads nothing.
    server.terminate();
    notices.wait_for("STOPPING=1");
    server.terminate();
    assert_eq!(server.wait().code(), Some(1));
    server.start_again(&[]);
    Client::connect(&server).expect(b"STRLEN long\r\n", ":10485760\r\n");
}

/// A process that is killed when it is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whoever read its log is gone: that is no reason to serve no longer, or not to end.
#[test]
fn a_log_that_nobody_reads_any_more_ends_nothing_and_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = command(&dir, "127.0.0.1:0", &["--log-level", "debug"]);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let mut server = Killed(command.spawn().unwrap());
    let mut log = BufReader::new(server.0.stderr.take().unwrap()).lines();
    let listening = log.find_map(|line| line.unwrap().split_once("listening on ")?.1.parse().ok());
    let addr: SocketAddr = listening.unwrap();
    drop(log);
    for request in [b"SET k v\r\nQUIT\r\n".as_slice(), b"*x\r\n"] {
        let mut client = Client { stream: TcpStream::connect(addr).unwrap() };
        let (told, end) = client.tell(request);
        assert!(!told.is_empty() && end == End::Closed);
    }
    kill_process(Pid::from_child(&server.0), Signal::TERM).unwrap();
    let mut ended = None;
    wait_until("it has ended", || {
        ended = server.0.try_wait().unwrap();
        ended.is_some()
    });
    assert!(ended.unwrap().success());
}

#[test]
fn the_unit_is_one_that_systemd_understands() {
    let unit = fs::read_to_string(Path::new(ROOT).join("packaging/kvs-server.service")).unwrap();
    let start = unit.lines().find_map(|line| line.strip_prefix("ExecStart=")).unwrap();
    let mut words = start.split_whitespace();
    assert_eq!(words.next(), Some("/usr/local/bin/kvs-server"));
    let config = format!("{ROOT}/packaging/kvs.toml");
    let args: Vec<&str> =
        words.map(|word| if word == "/etc/kvs/kvs.toml" { &config } else { word }).collect();
    let mut variables = Vec::new();
    for line in unit.lines().filter_map(|line| line.strip_prefix("Environment=")) {
        variables.push(line.split_once('=').unwrap());
    }
    let printed = print_config(&args, &variables);
    assert!(printed.contains("dir = \"/var/lib/kvs\""), "{printed}");
    assert!(printed.contains("password_file = \"%d/password\""), "{printed}");

    if !is_there(Command::new("systemd-analyze").arg("--version")) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kvs-server.service");
    // It looks whether the program is there.
    let unit = unit.replace("/usr/local/bin/kvs-server", env!("CARGO_BIN_EXE_kvs-server"));
    fs::write(&path, unit).unwrap();
    let mut verify = program("systemd-analyze");
    let ran = run(verify.args(["verify", "--man=no"]).arg(&path), b"");
    // Units of the machine that it comes across may have faults of their own.
    assert!(ran.code == Some(0) && !ran.err.contains("kvs-server.service"), "{ran:?}");
}

/// What `kvs-server` says its configuration is, with these arguments and variables only.
fn print_config(args: &[&str], variables: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-server"));
    command.args(args).arg("--print-config").env_clear().current_dir(dir.path());
    run(command.envs(variables.iter().copied()), b"").well()
}

/// The instructions of the Dockerfile, continued lines joined.
fn instructions() -> Vec<String> {
    let file = fs::read_to_string(Path::new(ROOT).join("Dockerfile")).unwrap();
    let lines: Vec<&str> = file.lines().filter(|line| !line.starts_with('#')).collect();
    lines.join("\n").replace("\\\n", "").lines().map(str::to_owned).collect()
}

/// The list of words at the end of the instruction that begins like this.
fn words_of(instruction: &str) -> Vec<String> {
    let instructions = instructions();
    let line = instructions.iter().rfind(|line| line.starts_with(instruction)).unwrap();
    serde_json::from_str(&line[line.find('[').unwrap()..]).unwrap()
}

#[test]
fn the_image_starts_the_server_with_options_that_there_are() {
    let entry = words_of("ENTRYPOINT ");
    assert_eq!(entry[0], "kvs-server");
    let args: Vec<&str> = entry[1..].iter().map(String::as_str).collect();
    let instructions = instructions();
    let line = instructions.iter().rfind(|line| line.starts_with("ENV ")).unwrap();
    let variables: Vec<(&str, &str)> =
        line["ENV ".len()..].split_whitespace().map(|it| it.split_once('=').unwrap()).collect();
    let printed = print_config(&args, &variables);
    for (variable, value) in variables {
        let option = variable.strip_prefix("KVS_").unwrap().to_lowercase();
        assert!(printed.contains(&format!("{option} = \"{value}\"")), "{variable}: {printed}");
    }
}

#[test]
fn the_health_of_the_image_is_that_of_the_server() {
    if !is_there(Command::new("bash").arg("--version")) {
        return;
    }
    let mut server = Server::start(&["--admin-addr", "127.0.0.1:0"]);
    let said = server.said();
    let admin = said.iter().find_map(|line| line.split_once("metrics on http://127.0.0.1:"));
    let port = admin.unwrap().1.split('/').next().unwrap();
    let words = words_of("HEALTHCHECK ");
    assert!(words[2].contains("/4001 "), "{words:?}");
    let line = words[2].replace("/4001 ", &format!("/{port} "));
    let is_healthy = || {
        let ran = run(program(&words[0]).args([&words[1], &line]), b"");
        ran.code == Some(0)
    };
    assert!(is_healthy());
    server.kill();
    assert!(!is_healthy());
}
