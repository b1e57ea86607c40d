//! The life of a server around connections that these tests make up.

use std::net::SocketAddr;
use std::sync::mpsc;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

use super::super::test_engine::TestEngine;
use super::{
    Arc, Config, KvsEngine, KvsError, Metrics, Password, ServeError, Shutdown, Started, check_door,
    serve_until,
};

const NO_SECRETS: super::Secrets = (None, None);

fn config(addr: &str) -> Config {
    Config { addr: addr.parse().unwrap(), ..Config::default() }
}

fn metrics() -> Arc<Metrics> {
    Arc::new(Metrics::new(&[]))
}

fn open(_: &Config) -> crate::Result<Arc<dyn KvsEngine>> {
    Ok(Arc::new(TestEngine::default()))
}

async fn run(config: Config) -> Result<(), ServeError> {
    let nothing = |_: Started| async {};
    let config = Arc::new(config);
    serve_until(config, NO_SECRETS, metrics(), Shutdown::new(), open, nothing).await
}

#[tokio::test]
async fn it_listens_when_the_engine_is_open_and_closes_it_at_the_end() {
    let engine = Arc::new(TestEngine::default());
    let for_server = Arc::clone(&engine);
    let (tell_addr, addr) = oneshot::channel::<SocketAddr>();
    let shutdown = Shutdown::new();
    let run = async move |started: Started| {
        let _ = tell_addr.send(started.listener.local_addr().unwrap());
        let (_stream, _) = started.listener.accept().await.unwrap();
        started.shutdown.draining().await;
    };
    let client = async {
        TcpStream::connect(addr.await.unwrap()).await.unwrap();
        shutdown.request();
    };
    let open = move |_: &Config| Ok(for_server as Arc<dyn KvsEngine>);
    let config = Arc::new(config("127.0.0.1:0"));
    let serving = serve_until(config, NO_SECRETS, metrics(), shutdown.clone(), open, run);
    let (served, ()) = tokio::join!(serving, client);
    served.unwrap();
    assert!(matches!(engine.stats().await, Err(KvsError::Closed)));
}

#[tokio::test]
async fn what_prevents_a_start_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let error = run(config(&addr)).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {addr}: Address already in use")));
    // An address for examples, which no machine has.
    let elsewhere = Config { insecure: true, ..config("192.0.2.1:0") };
    let error = run(elsewhere).await.unwrap_err().to_string();
    assert!(error.starts_with("cannot listen on 192.0.2.1:0: "), "{error}");
    let admin = Config { admin_addr: Some(addr.parse().unwrap()), ..config("127.0.0.1:0") };
    let error = run(admin).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("cannot listen on {addr}: ")), "{error}");
    let broken = |_: &Config| Err(KvsError::Closed);
    let nothing = |_: Started| async {};
    let config = Arc::new(config("127.0.0.1:0"));
    let served = serve_until(config, NO_SECRETS, metrics(), Shutdown::new(), broken, nothing);
    let error = served.await.unwrap_err().to_string();
    assert_eq!(error, "cannot open the engine: the store is closed");
}

#[tokio::test]
async fn others_come_in_with_a_password_or_if_that_is_what_is_wanted() {
    let error = run(config("0.0.0.0:0")).await.unwrap_err();
    assert!(matches!(error, ServeError::NoPassword { .. }), "{error}");
    assert!(error.to_string().starts_with("0.0.0.0:0 can be reached from outside"));
    // Nothing here listens to others: the door is asked, and then for an address of no machine.
    check_door(&Config { insecure: true, ..config("0.0.0.0:0") }, false).unwrap();
    let password = Password::load(None, Some("hush".into())).unwrap().map(Arc::new);
    let (outside, secrets) = (Arc::new(config("192.0.2.1:0")), (None, password.clone()));
    let nothing = |_: Started| async {};
    let served = serve_until(outside, secrets, metrics(), Shutdown::new(), open, nothing).await;
    assert!(matches!(served, Err(ServeError::Listen { .. })), "{served:?}");
    let run = async |started: Started| assert!(started.password.is_some());
    let (config, secrets) = (Arc::new(config("127.0.0.1:0")), (None, password));
    serve_until(config, secrets, metrics(), Shutdown::new(), open, run).await.unwrap();
}

#[tokio::test]
async fn an_end_that_is_asked_for_while_the_engine_opens_does_not_wait() {
    let shutdown = Shutdown::new();
    let (begun, has_begun) = oneshot::channel();
    let (go_on, gate) = mpsc::channel::<()>();
    let slow = move |config: &Config| {
        let _ = begun.send(());
        let _ = gate.recv();
        open(config)
    };
    let nothing = async |_: Started| unreachable!("there is no engine");
    let config = Arc::new(config("127.0.0.1:0"));
    let serving = serve_until(config, NO_SECRETS, metrics(), shutdown.clone(), slow, nothing);
    let signal = async {
        has_begun.await.unwrap();
        shutdown.request();
    };
    let (served, ()) = tokio::join!(serving, signal);
    served.unwrap();
    drop(go_on);
}

#[tokio::test(start_paused = true)]
async fn connections_that_do_not_end_are_cut_off() {
    for requests in 1..=2 {
        let shutdown = Shutdown::new();
        let asking = shutdown.clone();
        let forever = async move |_: Started| {
            (0..requests).for_each(|_| asking.request());
            std::future::pending::<()>().await;
        };
        let config = Arc::new(config("127.0.0.1:0"));
        let served = serve_until(config, NO_SECRETS, metrics(), shutdown, open, forever).await;
        match requests {
            1 => served.unwrap(),
            _ => assert!(matches!(served, Err(ServeError::Interrupted)), "{served:?}"),
        }
    }
}
