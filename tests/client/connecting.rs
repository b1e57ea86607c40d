//! Connecting: passwords, TLS, refusals, and servers that are none.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use kvs::KvsClient;
use kvs::client::{ClientError, ErrorCode};
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{AuthResponse, HelloResponse};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fake::{Fake, Peer, encoded, error, key_of, quick, script, value};

#[tokio::test]
async fn nobody_is_there() {
    // Bound, so that nobody else gets it, and not listened on.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = socket.local_addr().unwrap();
    let refused = KvsClient::connect(addr).await.unwrap_err();
    let said = format!("cannot connect to {addr}: Connection refused (os error 111)");
    assert_eq!(refused.to_string(), said);
}

#[tokio::test]
async fn somebody_else_is_there() {
    let answers: [&[u8]; 4] =
        [b"", b"-ERR unknown command\r\n", b"HTTP/1.1 400\r\n", b"\0\0\0\x01x"];
    for answer in answers {
        let fake = Fake::bind().await;
        let addr = fake.addr;
        let script = script(async move {
            let mut peer = fake.accept().await;
            peer.request().await;
            peer.send(answer).await;
        });
        let none = KvsClient::connect(addr).await.unwrap_err();
        assert!(matches!(none, ClientError::NotKvs { .. }), "{none}");
        script.await.unwrap();
    }
}

#[tokio::test]
async fn nobody_says_a_word() {
    let fake = Fake::bind().await;
    let silent = quick().connect_timeout_ms(100).connect(fake.addr).await.unwrap_err();
    assert_eq!(silent.to_string(), format!("cannot connect to {}: timed out", fake.addr));
}

#[tokio::test]
async fn the_server_refuses() {
    for code in [ErrorCode::TooManyConnections, ErrorCode::UnsupportedProtocol] {
        let fake = Fake::bind().await;
        let addr = fake.addr;
        let script = script(async move { fake.accept().await.respond(0, error(code)).await });
        let refused = KvsClient::connect(addr).await.unwrap_err();
        // Where the server is fast, its answer is lost with the connection.
        let is_lost = matches!(refused, ClientError::Connect { .. });
        assert!(refused.code() == code || is_lost, "{refused}");
        script.await.unwrap();
    }
}

async fn greet_with_password(peer: &mut Peer) {
    let (id, _) = peer.request().await;
    let hello = HelloResponse { version: 1, auth_required: true, ..HelloResponse::default() };
    peer.respond(id, Kind::Hello(hello)).await;
}

#[tokio::test]
async fn the_password_is_given_when_there_is_one_and_asked_for_when_not() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        for answer in [Kind::Auth(AuthResponse {}), error(ErrorCode::WrongPassword)] {
            let mut peer = fake.accept().await;
            greet_with_password(&mut peer).await;
            let (id, asked) = peer.request().await;
            assert!(matches!(asked, Asked::Auth(auth) if auth.password == "hush"));
            peer.respond(id, answer).await;
        }
        greet_with_password(&mut fake.accept().await).await;
    });
    let options = quick().password("hush");
    assert!(!format!("{options:?}").contains("hush"));
    options.connect(addr).await.unwrap();
    let wrong = options.connect(addr).await.unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::WrongPassword);
    let missing = quick().connect(addr).await.unwrap_err();
    assert_eq!(missing.to_string(), "the server wants a password");
    script.await.unwrap();
}

#[tokio::test]
async fn a_password_that_is_no_longer_right_is_told_at_once() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        peer.request().await;
        drop(peer);
        fake.accept().await.respond(1, error(ErrorCode::WrongPassword)).await;
        fake
    });
    let client = quick().connect(addr).await.unwrap();
    let wrong = client.get("key").await.unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::WrongPassword);
    script.await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_gone_is_waited_for_and_then_told() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let client = {
        let options = quick().timeout_ms(1000);
        let (client, _) = tokio::join!(options.connect(addr), fake.greet());
        client.unwrap()
    };
    drop(fake);
    for _ in 0..2 {
        let gone = client.get("key").await.unwrap_err();
        assert!(matches!(gone, ClientError::Connect { .. }), "{gone}");
    }
    // A write that waits for a connection was not sent.
    let gone = client.set("key", "value").await.unwrap_err();
    assert!(!gone.is_outcome_unknown(), "{gone}");
}

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(file("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

#[tokio::test]
async fn tls_is_spoken_with_a_server_whose_certificate_is_right() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let script = script(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor().accept(stream).await.unwrap();
        let mut hello = vec![0; 4];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello[0], 0);
        let hello = HelloResponse { version: 1, ..HelloResponse::default() };
        stream.write_all(&encoded(1, Kind::Hello(hello))).await.unwrap();
        stream.flush().await.unwrap();
        // What it asks is of no concern; that it may end is.
        drop(stream.read_to_end(&mut Vec::new()).await);
        let (stream, _) = listener.accept().await.unwrap();
        assert!(acceptor().accept(stream).await.is_err());
    });
    let options = quick().ca_file(file("ca.pem")).server_name("localhost");
    drop(options.connect(addr).await.unwrap());
    let other = options.server_name("other.test").connect(addr).await.unwrap_err();
    assert!(other.to_string().contains("certificate not valid for name"), "{other}");
    script.await.unwrap();
    let missing = quick().ca_file("none.pem").connect(addr).await.unwrap_err();
    let said = "cannot use the CA file none.pem: No such file or directory (os error 2)";
    assert_eq!(missing.to_string(), said);
    let none = quick().ca_file(file("server.key")).connect(addr).await.unwrap_err();
    let said = "there is no certificate in it";
    assert!(none.to_string().ends_with(said), "{none}");
}

#[tokio::test]
async fn one_port_is_asked_again_when_somebody_asks() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let options = quick();
    let (client, peer) = tokio::join!(options.connect(addr), fake.greet());
    let client = client.unwrap();
    drop(peer);
    let (found, ()) = tokio::join!(client.get("key"), async {
        let mut peer = fake.greet().await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    assert_eq!(found.unwrap().as_deref(), Some(&b"key"[..]));
}
