//! TLS through the binary, for both protocols; and clients that do not speak it, or not to the end.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use kvs::client::ClientOptions;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::client::{Client, End};
use super::process::anonymous_bytes;
use super::server::Server;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn start(args: &[&str]) -> Server {
    let (cert, key) = (file("server.pem"), file("server.key"));
    let tls = ["--tls-cert-file", cert.to_str().unwrap(), "--tls-key-file", key.to_str().unwrap()];
    Server::start_with(&[&tls[..], args].concat(), &[("KVS_PASSWORD", "secret")])
}

/// A connection over TLS that trusts the certificate in a file.
fn connect(server: &Server, ca: &str) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(file(ca)).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    StreamOwned::new(connection, Client::connect(server).stream)
}

#[track_caller]
fn expect(stream: &mut impl ReadWrite, request: &str, reply: &str) {
    stream.write_all(request.as_bytes()).unwrap();
    stream.flush().unwrap();
    let mut found = vec![0; reply.len()];
    stream.read_exact(&mut found).unwrap();
    assert_eq!(String::from_utf8_lossy(&found), reply);
}

trait ReadWrite: Read + Write {}

impl<T: Read + Write> ReadWrite for T {}

#[test]
fn both_protocols_and_the_password_go_over_tls() {
    let server = start(&[]);
    let mut stream = connect(&server, "ca.pem");
    expect(&mut stream, "GET k\r\n", "-NOAUTH Authentication required.\r\n");
    expect(&mut stream, "AUTH secret\r\nSET k v\r\n", "+OK\r\n+OK\r\n");
    let value = "v".repeat(3_000_000);
    let set = format!("*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$3000000\r\n{value}\r\n");
    expect(&mut stream, &set, "+OK\r\n");
    let values = format!("$3000000\r\n{value}\r\n").repeat(5);
    expect(&mut stream, &"GET long\r\n".repeat(5), &values);

    let runtime = tokio::runtime::Runtime::new().unwrap();
    let addr = server.addr.to_string();
    runtime.block_on(async {
        let options = ClientOptions::new().ca_file(file("ca.pem"));
        let client = options.clone().password("secret").connect(&*addr).await.unwrap();
        assert_eq!(client.get("k").await.unwrap().as_deref(), Some(&b"v"[..]));
        let error = options.clone().password("wrong").connect(&*addr).await.err().unwrap();
        assert!(error.to_string().contains("password"), "{error}");
        let others = ClientOptions::new().password("secret").ca_file(file("server.pem"));
        let error = others.connect(&*addr).await.err().unwrap();
        assert!(error.to_string().contains("certificate"), "{error}");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_kvs-client"));
    command.args(["--addr", &addr, "--tls-ca-file"]).arg(file("ca.pem"));
    let got = command.args(["get", "k"]).env("KVS_PASSWORD", "secret").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&got.stdout), "v\n", "{got:?}");
}

#[test]
fn a_certificate_that_is_not_trusted_is_not_talked_to() {
    let server = start(&[]);
    let mut stream = connect(&server, "server.pem");
    let error = stream.write_all(b"PING\r\n").and_then(|()| stream.flush()).unwrap_err();
    assert!(error.to_string().contains("certificate"), "{error}");
    // The server goes on.
    expect(&mut connect(&server, "ca.pem"), "AUTH secret\r\n", "+OK\r\n");
}

#[test]
fn what_is_no_tls_is_closed_and_what_stalls_too() {
    let server = start(&["--handshake-timeout-ms", "3000"]);
    let mut good = connect(&server, "ca.pem");
    expect(&mut good, "AUTH secret\r\n", "+OK\r\n");
    let before = anonymous_bytes(server.pid());
    // The first bytes of a hello, as far as its length; and a hello that says it is longer.
    let stalled: [&[u8]; 4] =
        [b"", b"\x16", b"\x16\x03\x01\x02\x00", b"\x16\x03\x01\x40\x00\x01\x00"];
    let plain: [&[u8]; 5] = [
        b"PING\r\n",
        b"\0\0\0\x01\xff",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff\xff\xff\xff\xff",
        &[0; 5000],
    ];
    // They run at the same time.
    let told = stalled.into_iter().chain(plain).map(|sent| {
        let mut client = Client::connect(&server);
        let _ = client.stream.write_all(sent);
        (sent, client)
    });
    let told: Vec<(&[u8], Client)> = told.collect();
    for (sent, mut client) in told {
        let (told, end) = client.rest();
        assert_eq!(end, End::Closed, "{}", sent.escape_ascii());
        // An alert at most.
        assert!(told.len() <= 7 && !told.starts_with(b"-"), "{}", told.escape_ascii());
        expect(&mut good, "PING\r\n", "+PONG\r\n");
    }
    // Many at once that stall, of which none holds up who comes behind.
    let others: Vec<Client> = (0..200).map(|_| Client::connect(&server)).collect();
    let mut late = connect(&server, "ca.pem");
    expect(&mut late, "AUTH secret\r\nPING\r\n", "+OK\r\n+PONG\r\n");
    drop(others);
    let grown = anonymous_bytes(server.pid()).saturating_sub(before);
    assert!(grown <= 16 << 20, "{grown} bytes");
}
