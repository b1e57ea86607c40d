//! `src/protocol/proto/messages.rs` is what `prost` makes of `proto/kvs.proto`, without `protoc`.
//!
//! It is committed rather than made by a build script: whoever builds the crate then needs neither
//! the parser nor the generator, and a change of the contract shows as a change of the code.
#![cfg(feature = "server")]

use std::fs;
use std::path::Path;

const HEAD: &str = "\
//! The messages of `proto/kvs.proto`, generated. After a change there:
//! `KVS_REGENERATE=1 cargo test --test proto_messages`.
";

#[test]
fn the_generated_code_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/protocol/proto/messages.rs");
    let out = tempfile::tempdir().unwrap();
    let files = protox::compile(["kvs.proto"], [root.join("proto")]).unwrap();
    prost_build::Config::new().bytes(["."]).out_dir(out.path()).compile_fds(files).unwrap();
    let made = fs::read_to_string(out.path().join("kvs.v1.rs")).unwrap();
    let made = format!("{HEAD}{made}");
    if std::env::var_os("KVS_REGENERATE").is_some() {
        fs::write(&committed, &made).unwrap();
    }
    let found = fs::read_to_string(&committed).unwrap_or_default();
    assert!(found == made, "{} is not what proto/kvs.proto says; {HEAD}", committed.display());
}
