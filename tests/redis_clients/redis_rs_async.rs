//! The crate `redis`, as it is used by tasks.

use std::collections::BTreeSet;

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::redis_rs::client;
use super::server::Server;

async fn connect(server: &Server, query: &str) -> MultiplexedConnection {
    client(server, query).get_multiplexed_async_connection().await.unwrap()
}

#[tokio::test]
async fn one_connection_serves_many_tasks() {
    let server = Server::start(&[]);
    for query in ["", "?protocol=resp3"] {
        let mut connection = connect(&server, query).await;
        let _: () = connection.set("sum", 0).await.unwrap();
        let tasks: Vec<_> =
            (0..16).map(|task| tokio::spawn(work(connection.clone(), task))).collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(connection.get::<_, i64>("sum").await.unwrap(), 1600);
    }
}

/// Sets and gets keys of its own, and adds to a sum that is everybody's.
async fn work(mut connection: MultiplexedConnection, task: i64) {
    for number in 0..100 {
        let key = format!("{task}:{number}");
        let _: () = connection.set(&key, number).await.unwrap();
        assert_eq!(connection.get::<_, i64>(&key).await.unwrap(), number);
        let _: i64 = connection.incr("sum", 1).await.unwrap();
    }
}

#[tokio::test]
async fn pipelines_are_transactions_and_keys_are_iterated() {
    let server = Server::start(&[]);
    let mut connection = connect(&server, "").await;
    let mut pipe = redis::pipe();
    pipe.atomic();
    (0..300).for_each(|number| {
        pipe.set(format!("scan:{number}"), number).ignore();
    });
    pipe.set("n", 1).ignore().incr("n", 1);
    let (count,): (i64,) = pipe.query_async(&mut connection).await.unwrap();
    assert_eq!(count, 2);
    let mut keys = connection.scan_match::<_, String>("scan:*").await.unwrap();
    let mut found = BTreeSet::new();
    while let Some(key) = keys.next_item().await {
        found.insert(key.unwrap());
    }
    assert_eq!(found, (0..300).map(|number| format!("scan:{number}")).collect());
}
