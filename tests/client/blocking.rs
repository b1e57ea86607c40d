//! The blocking client, from several threads.

use std::thread;

use kvs::client::{ClientOptions, ScanOptions};
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{StreamEnd, WatchStarted};
use tokio::runtime::Builder;

use super::fake::{Fake, key_of, value, written};

#[test]
fn threads_share_a_client() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let fake = runtime.block_on(Fake::bind());
    let addr = fake.addr;
    let server = thread::spawn(move || {
        runtime.block_on(async move {
            let mut peer = fake.greet().await;
            while let Some((id, asked)) = peer.request_or_end().await {
                let answer = match &asked {
                    Asked::Get(_) => value(&key_of(&asked)),
                    Asked::Set(_) => written(1),
                    Asked::Scan(_) => Kind::StreamEnd(StreamEnd::default()),
                    Asked::Watch(_) => Kind::WatchStarted(WatchStarted::default()),
                    Asked::Cancel(_) => Kind::StreamEnd(StreamEnd { cancelled: true }),
                    other => panic!("{other:?}"),
                };
                peer.respond(id, answer).await;
            }
        });
    });
    let client = ClientOptions::new().connect_blocking(addr).unwrap();
    thread::scope(|scope| {
        for number in 0..4 {
            let client = client.clone();
            scope.spawn(move || {
                for turn in 0..100 {
                    let key = format!("{number} {turn}");
                    client.set(&key, "value").unwrap();
                    assert_eq!(&*client.get(&key).unwrap().unwrap(), key.as_bytes());
                }
            });
        }
    });
    assert_eq!(client.scan(ScanOptions::new()).count(), 0);
    let mut watch = client.watch(None, "").unwrap();
    assert!(watch.next_within(std::time::Duration::from_millis(10)).unwrap().is_none());
    drop((watch, client));
    server.join().unwrap();
}
