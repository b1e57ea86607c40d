//! The crate `redis`, as it is used by threads.

use std::collections::BTreeSet;
use std::thread;

use redis::{
    Client, Commands, Connection, ConnectionLike, ErrorKind, ExistenceCheck, RedisResult,
    ServerErrorKind, SetExpiry, SetOptions, Value,
};

use super::server::Server;

pub fn client(server: &Server, query: &str) -> Client {
    Client::open(format!("redis://{}/{query}", server.addr)).unwrap()
}

fn connect(server: &Server) -> Connection {
    client(server, "").get_connection().unwrap()
}

#[test]
fn values_options_and_expiries() {
    let server = Server::start(&[]);
    let mut connection = connect(&server);
    let bytes: Vec<u8> = (0..=255).collect();
    let _: () = connection.set("bytes", &bytes).unwrap();
    assert_eq!(connection.get::<_, Vec<u8>>("bytes").unwrap(), bytes);
    assert_eq!(connection.get::<_, Option<String>>("none").unwrap(), None);
    let only_new = SetOptions::default()
        .conditional_set(ExistenceCheck::NX)
        .with_expiration(SetExpiry::EX(100));
    let set: Option<String> = connection.set_options("s", "1", only_new.clone()).unwrap();
    assert_eq!(set.as_deref(), Some("OK"));
    let refused: Option<String> = connection.set_options("s", "2", only_new).unwrap();
    assert_eq!(refused, None);
    let kept = SetOptions::default().get(true).with_expiration(SetExpiry::KEEPTTL);
    let before: Option<String> = connection.set_options("s", "2", kept).unwrap();
    assert_eq!(before.as_deref(), Some("1"));
    let left: i64 = connection.ttl("s").unwrap();
    assert!((1..=100).contains(&left), "{left}");
    assert!(connection.persist::<_, bool>("s").unwrap());
    assert!(connection.expire::<_, bool>("s", 0).unwrap());
    assert!(!connection.exists::<_, bool>("s").unwrap());
    let _: () = connection.mset(&[("a", "1"), ("b", "2")]).unwrap();
    let many: Vec<Option<i64>> = connection.mget(&["a", "none", "b"]).unwrap();
    assert_eq!(many, [Some(1), None, Some(2)]);
    let (removed, length): (i64, i64) =
        redis::pipe().del(&["a", "b"]).append("bytes", "x").query(&mut connection).unwrap();
    assert_eq!((removed, length), (2, 257));
}

#[test]
fn pipelines_and_transactions() {
    let server = Server::start(&[]);
    let mut connection = connect(&server);
    let (count, text): (i64, String) = redis::pipe()
        .atomic()
        .set("n", 1)
        .ignore()
        .incr("n", 4)
        .get("n")
        .query(&mut connection)
        .unwrap();
    assert_eq!((count, text.as_str()), (5, "5"));
    let mut long = redis::pipe();
    (0..5000).for_each(|number| {
        long.set(format!("many:{number}"), number).ignore();
    });
    long.query::<()>(&mut connection).unwrap();
    assert_eq!(connection.get::<_, i64>("many:4999").unwrap(), 4999);
    let failed = redis::pipe().atomic().set("s", "text").incr("s", 1).exec(&mut connection);
    assert!(failed.unwrap_err().to_string().contains("value is not an integer"));
    assert_eq!(connection.get::<_, String>("s").unwrap(), "text");

    const THREADS: i64 = 4;
    const ROUNDS: i64 = 25;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let mut connection = connect(&server);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    add_one(&mut connection);
                }
            });
        }
    });
    assert_eq!(connection.get::<_, i64>("counter").unwrap(), THREADS * ROUNDS);
}

/// With a transaction that is tried again while others are faster.
fn add_one(connection: &mut Connection) {
    let added: RedisResult<(i64,)> =
        redis::transaction(connection, &["counter"], |connection, pipe| {
            let before: Option<i64> = connection.get("counter")?;
            let next = before.unwrap_or_default() + 1;
            pipe.set("counter", next).ignore().get("counter").query(connection)
        });
    added.unwrap();
}

#[test]
fn keys_are_iterated() {
    let server = Server::start(&[]);
    let mut connection = connect(&server);
    let mut sets = redis::pipe();
    (0..500).for_each(|number| {
        sets.set(format!("scan:{number}"), "").ignore();
        sets.set(format!("other:{number}"), "").ignore();
    });
    sets.query::<()>(&mut connection).unwrap();
    let found = connection.scan_match::<_, String>("scan:*").unwrap();
    let found: BTreeSet<String> = found.map(Result::unwrap).collect();
    assert_eq!(found, (0..500).map(|number| format!("scan:{number}")).collect());
    assert_eq!(connection.scan::<String>().unwrap().map(Result::unwrap).count(), 1000);
}

#[test]
fn the_third_version_of_the_protocol_is_agreed_on() {
    let server = Server::start(&[]);
    let client = client(&server, "?protocol=resp3");
    let mut connection = client.get_connection().unwrap();
    let _: () = connection.set("k", "v").unwrap();
    assert_eq!(connection.get::<_, Option<String>>("none").unwrap(), None);
    let parameters: Value =
        redis::cmd("CONFIG").arg("GET").arg("maxclients").query(&mut connection).unwrap();
    assert!(matches!(parameters, Value::Map(_)), "{parameters:?}");
    let info: String = redis::cmd("CLIENT").arg("INFO").query(&mut connection).unwrap();
    assert!(info.contains(" resp=3") && info.contains(" lib-name=redis-rs"), "{info}");
}

#[test]
fn errors_are_of_the_kind_that_they_are() {
    let server = Server::start(&[]);
    let mut connection = connect(&server);
    let _: () = connection.set("text", "x").unwrap();
    let error = connection.incr::<_, _, i64>("text", 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
    assert_eq!(error.detail(), Some("value is not an integer or out of range"));
    let error = connection.lpush::<_, _, i64>("list", 1).unwrap_err();
    assert!(error.to_string().contains("unknown command 'LPUSH'"), "{error}");
    let error = client(&server, "1").get_connection().err().unwrap();
    assert!(error.to_string().contains("Redis server refused to switch database"), "{error}");
    let error = redis::pipe().atomic().cmd("NOSUCH").set("a", 1).exec(&mut connection);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Server(ServerErrorKind::ExecAbort));
    assert!(!connection.exists::<_, bool>("a").unwrap());

    let server = Server::start_with(&[], &[("KVS_PASSWORD", "secret")]);
    let error = client(&server, "").get_connection().unwrap().get::<_, String>("a").unwrap_err();
    assert_eq!(error.code(), Some("NOAUTH"));
    let wrong = Client::open(format!("redis://:wrong@{}", server.addr)).unwrap();
    assert_eq!(wrong.get_connection().err().unwrap().kind(), ErrorKind::AuthenticationFailed);
    for query in ["", "?protocol=resp3"] {
        let right = Client::open(format!("redis://:secret@{}/{query}", server.addr)).unwrap();
        assert!(right.get_connection().unwrap().check_connection());
    }
}
