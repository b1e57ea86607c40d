//! redis-py, which most programs in Python use.

use std::process::Command;

use super::programs::{is_there, program, python, run};
use super::server::Server;

#[test]
fn redis_py_works() {
    if !is_there(Command::new(python()).args(["-c", "import redis"])) {
        return;
    }
    let server = Server::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/redis_clients/redis_py.py");
    let mut command = program(python());
    command.arg(script).arg(server.addr.port().to_string()).env("PYTHONDONTWRITEBYTECODE", "1");
    let ran = run(&mut command, b"");
    assert_eq!(ran.code, Some(0), "{}{}", ran.out, ran.err);
    assert_eq!(ran.out, "10 checks\n");
}
