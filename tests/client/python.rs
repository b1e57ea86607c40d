//! The example in another language, against the real server.

use std::path::Path;
use std::process::Command;

use super::programs::{is_there, python};
use super::server::Server;

#[test]
fn the_example_in_python_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protobuf = ["-c", "import google.protobuf"];
    if !is_there(Command::new("protoc").arg("--version"))
        || !is_there(Command::new(python()).args(protobuf))
    {
        return;
    }
    let server = Server::start(&[]);
    let out = tempfile::tempdir().unwrap();
    let made = Command::new("protoc")
        .arg(format!("--proto_path={}", root.join("proto").display()))
        .arg(format!("--python_out={}", out.path().display()))
        .arg(root.join("proto/kvs.proto"))
        .status();
    assert!(made.unwrap().success());
    let ran = Command::new(python())
        .arg(root.join("examples/client.py"))
        .arg(server.addr.to_string())
        .env("PYTHONPATH", out.path())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "python/city Utrecht True\n");
}
