//! Over a real socket: each path, in each state; and requests that are none.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::net::{TcpListener, TcpStream};

use super::super::test_engine::TestEngine;
use super::{Arc, HEAD_BYTES_MAX, KvsEngine, Metrics, OnceLock, Shutdown, Watched, run, serve};

struct Scene {
    watched: Arc<Watched>,
    addr: SocketAddr,
}

impl Scene {
    async fn new() -> Scene {
        let watched = Arc::new(Watched {
            metrics: Arc::new(Metrics::new(&["get"])),
            shutdown: Shutdown::new(),
            engine: OnceLock::new(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(run(listener, Arc::clone(&watched)));
        Scene { watched, addr }
    }

    /// The head and the body of the answer.
    async fn ask(&self, request: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    async fn get(&self, path: &str) -> (String, String) {
        let (head, body) = self.ask(&format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let head = head.strip_prefix("HTTP/1.1 ").unwrap();
        (head.split("\r\n").next().unwrap().to_owned(), body)
    }
}

#[tokio::test]
async fn it_is_ready_between_its_start_and_its_end_while_the_engine_is_well() {
    let scene = Scene::new().await;
    let not = |reason: &str| ("503 Service Unavailable".to_owned(), format!("{reason}\n"));
    let ok = |body: &str| ("200 OK".to_owned(), format!("{body}\n"));
    assert_eq!(scene.get("/readyz").await, not("starting"));
    assert_eq!(scene.get("/healthz").await, ok("alive"));
    let engine = Arc::new(TestEngine::default());
    assert!(scene.watched.engine.set(Arc::<TestEngine>::clone(&engine)).is_ok());
    assert_eq!(scene.get("/readyz").await, ok("ready"));
    engine.poison();
    assert_eq!(scene.get("/readyz").await, not("the engine takes no more writes"));
    engine.close().await.unwrap();
    assert_eq!(scene.get("/readyz").await, not("the engine does not answer"));
    scene.watched.shutdown.request();
    assert_eq!(scene.get("/readyz").await, not("shutting down"));
    assert_eq!(scene.get("/healthz").await, ok("alive"));
}

#[tokio::test]
async fn metrics_are_what_was_counted_and_what_the_engine_says() {
    let scene = Scene::new().await;
    let (status, before) = scene.get("/metrics").await;
    assert_eq!(status, "200 OK");
    assert!(before.contains("kvs_build_info{") && !before.contains("kvs_keys"));
    scene.watched.metrics.record(0, 5000);
    let engine = TestEngine::default();
    engine.stats.lock().unwrap().keys = 42;
    assert!(scene.watched.engine.set(Arc::new(engine)).is_ok());
    let (head, body) = scene.ask("GET /metrics?x=y HTTP/1.0\r\n\r\n").await;
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    assert!(head.ends_with("\r\nConnection: close"));
    assert!(body.contains("\nkvs_keys 42\n"), "{body}");
    assert!(body.contains("\nkvs_command_duration_seconds_count{command=\"get\"} 1\n"));
    assert!(body.contains("engine=\"test\""));
}

#[tokio::test]
async fn what_is_no_request_of_this_server_is_refused() {
    let scene = Scene::new().await;
    let status = async |request: &str| {
        let (head, _) = scene.ask(request).await;
        head["HTTP/1.1 ".len()..][..3].to_owned()
    };
    assert_eq!(status("GET / HTTP/1.1\r\n\r\n").await, "404");
    assert_eq!(status("GET /metrics/x HTTP/1.1\r\n\r\n").await, "404");
    assert_eq!(status("POST /metrics HTTP/1.1\r\n\r\n").await, "405");
    assert_eq!(status("*1\r\n$4\r\nPING\r\n\r\n").await, "400");
    assert_eq!(status("GET /metrics HTTP/1.1\r\n").await, "400");
    assert_eq!(status("").await, "400");
    let fields = "a: b\r\n".repeat(100);
    assert_eq!(status(&format!("GET /healthz HTTP/1.1\r\n{fields}\r\n")).await, "431");
    let field = "x".repeat(HEAD_BYTES_MAX);
    assert_eq!(status(&format!("GET /healthz HTTP/1.1\r\na: {field}\r\n\r\n")).await, "431");
    let (head, body) = scene.ask("HEAD /healthz HTTP/1.1\r\n\r\n").await;
    assert!(head.contains("Content-Length: 6") && body.is_empty());
}

#[tokio::test]
async fn it_may_come_byte_by_byte() {
    let scene = Scene::new().await;
    for end in ["\r\n\r\n", "\n\n"] {
        let (mut near, far) = duplex(1);
        let client = async {
            for byte in format!("GET /healthz HTTP/1.1{end}").bytes() {
                near.write_all(&[byte]).await.unwrap();
            }
            let mut answer = String::new();
            near.read_to_string(&mut answer).await.unwrap();
            drop(near);
            answer
        };
        let (served, answer) = tokio::join!(serve(far, &scene.watched), client);
        served.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("alive\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn who_sends_nothing_is_let_go() {
    let scene = Scene::new().await;
    let mut silent = TcpStream::connect(scene.addr).await.unwrap();
    silent.write_all(b"GET /healthz").await.unwrap();
    let mut answer = Vec::new();
    // Either way it is over.
    let _ = silent.read_to_end(&mut answer).await;
    assert!(answer.is_empty());
}
