//! Calls: many at once, late ones, and what is asked again when a connection breaks.

use kvs::client::{ClientError, ErrorCode, Swap};
use kvs::protocol::proto::messages::request::Kind as Asked;
use kvs::protocol::proto::messages::response::Kind;
use kvs::protocol::proto::messages::{
    CompareAndSwapResponse, GetManyResponse, GetResponse, Limits, WriteResponse,
};
use kvs::{Batch, Durability, Expected, SetOptions, WriteOptions};
use tokio::io::AsyncWriteExt;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::fake::{Fake, encoded, error, key_of, quick, script, value, written};

#[tokio::test]
async fn requests_of_many_tasks_share_a_connection_and_each_gets_its_own_answer() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        // All are here before one is answered, and the last one is answered first.
        let mut asked = Vec::new();
        while asked.len() < 100 {
            asked.push(peer.request().await);
        }
        for (id, get) in asked.into_iter().rev() {
            peer.respond(id, value(&key_of(&get))).await;
        }
    });
    let client = quick().connect(addr).await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..100 {
        let client = client.clone();
        tasks.spawn(async move {
            let key = format!("key {number}");
            let found = client.get(&key).await.unwrap().unwrap();
            assert_eq!(&*found, key.as_bytes());
        });
    }
    tasks.join_all().await;
    script.await.unwrap();
}

#[tokio::test]
async fn an_answer_in_pieces_is_put_together() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        peer.stream.set_nodelay(true).unwrap();
        let (id, get) = peer.request().await;
        for byte in encoded(id, value(&key_of(&get))) {
            peer.send(&[byte]).await;
            peer.stream.flush().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let client = quick().connect(addr).await.unwrap();
    assert_eq!(client.get("key").await.unwrap().as_deref(), Some(&b"key"[..]));
    script.await.unwrap();
}

#[tokio::test]
async fn a_read_is_asked_again_when_its_connection_breaks_in_the_middle_of_the_answer() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, get) = peer.request().await;
        let answer = encoded(id, value(&key_of(&get)));
        peer.send(&answer[..answer.len() - 1]).await;
        drop(peer);
        let mut peer = fake.greet().await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    assert_eq!(client.get("key").await.unwrap().as_deref(), Some(&b"key"[..]));
    script.await.unwrap();
}

#[tokio::test]
async fn a_write_that_may_have_come_is_not_sent_again() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (_, asked) = peer.request().await;
        assert!(matches!(asked, Asked::Set(_)));
        drop(peer);
        let mut peer = fake.greet().await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let lost = client.set("key", "value").await.unwrap_err();
    assert!(matches!(lost, ClientError::Lost { outcome_unknown: true, .. }), "{lost}");
    assert!(lost.to_string().ends_with("it is not known whether the write was done"), "{lost}");
    client.get("what comes next is this").await.unwrap();
    script.await.unwrap();
}

#[tokio::test]
async fn a_swap_on_a_version_is_sent_again_and_its_refusal_is_not_believed() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let done = CompareAndSwapResponse {
            written: Some(WriteResponse { seq: 9, existed: true }),
            ..CompareAndSwapResponse::default()
        };
        for answer in [done, CompareAndSwapResponse::default()] {
            drop(fake.greet().await.request().await);
            let mut peer = fake.greet().await;
            let (id, asked) = peer.request().await;
            assert!(matches!(asked, Asked::CompareAndSwap(_)), "{asked:?}");
            peer.respond(id, Kind::CompareAndSwap(answer)).await;
        }
        drop(fake.greet().await.request().await);
        fake
    });
    let client = quick().connect(addr).await.unwrap();
    let swap = || client.compare_and_swap("key", Expected::Version(8), Some("new"));
    assert!(matches!(swap().await.unwrap(), Swap::Done(written) if written.seq == 9));
    let unknown = swap().await.unwrap_err();
    assert!(unknown.is_outcome_unknown(), "{unknown}");
    // One on a value is not sent again: it may hold twice.
    let lost = client.compare_and_swap("key", Expected::value("old"), Some("new")).await;
    assert!(lost.unwrap_err().is_outcome_unknown());
    script.await.unwrap();
}

#[tokio::test]
async fn what_was_refused_unseen_is_asked_again() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        for code in [ErrorCode::Busy, ErrorCode::ShuttingDown] {
            let (id, asked) = peer.request().await;
            assert!(matches!(asked, Asked::Set(_)));
            peer.respond(id, error(code)).await;
        }
        let (id, _) = peer.request().await;
        peer.respond(id, written(7)).await;
        let (id, _) = peer.request().await;
        peer.respond(id, error(ErrorCode::PreconditionFailed)).await;
        let (id, _) = peer.request().await;
        peer.respond(id, error(ErrorCode::DiskFull)).await;
    });
    let client = quick().connect(addr).await.unwrap();
    assert_eq!(client.set("key", "value").await.unwrap().seq, 7);
    let absent = SetOptions::new().if_absent();
    assert_eq!(client.set_with("key", "value", absent).await.unwrap(), None);
    let full = client.set("key", "value").await.unwrap_err();
    assert_eq!(full.code(), ErrorCode::DiskFull);
    script.await.unwrap();
}

#[tokio::test]
async fn a_call_ends_in_time_and_the_connection_goes_on() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (late, _) = peer.request().await;
        let (id, get) = peer.request().await;
        peer.respond(late, written(1)).await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().timeout_ms(2000).connect(addr).await.unwrap();
    let timeout = client.set("key", "value").await.unwrap_err();
    let said = "no answer after 2000 ms; it is not known whether the write was done";
    assert_eq!(timeout.to_string(), said);
    client.get("key").await.unwrap();
    script.await.unwrap();
}

#[tokio::test]
async fn a_call_that_is_dropped_disturbs_nobody() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let (tell, has_come) = oneshot::channel();
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (dropped, get) = peer.request().await;
        assert_eq!(key_of(&get), "dropped");
        tell.send(()).unwrap();
        let (id, get) = peer.request().await;
        peer.respond(dropped, value("nobody takes this")).await;
        peer.respond(id, value(&key_of(&get))).await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let dropped = client.clone();
    let dropped = tokio::spawn(async move { dropped.get("dropped").await });
    has_come.await.unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    for key in ["first", "second"] {
        assert_eq!(client.get(key).await.unwrap().as_deref(), Some(key.as_bytes()));
    }
    script.await.unwrap();
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_the_server_takes() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.accept().await;
        peer.greet(Limits { requests_in_flight_max: 2, ..Limits::default() }).await;
        let mut asked = vec![peer.request().await, peer.request().await];
        for left in (0..10).rev() {
            assert!(peer.is_quiet().await);
            let (id, get) = asked.remove(0);
            peer.respond(id, value(&key_of(&get))).await;
            if left >= 2 {
                asked.push(peer.request().await);
            }
            if asked.is_empty() {
                return;
            }
        }
    });
    let client = quick().connect(addr).await.unwrap();
    let mut tasks = JoinSet::new();
    for number in 0..10 {
        let client = client.clone();
        tasks.spawn(async move { client.get(format!("{number}")).await.unwrap().unwrap() });
    }
    assert_eq!(tasks.join_all().await.len(), 10);
    script.await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_for_the_server_is_not_sent() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.accept().await;
        peer.greet(Limits { frame_bytes_max: 1000, ..Limits::default() }).await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let too_large = client.set("key", vec![b'x'; 2000]).await.unwrap_err();
    assert!(matches!(too_large, ClientError::TooLarge { limit: 1000, .. }), "{too_large}");
    client.get("key").await.unwrap();
    script.await.unwrap();
}

#[tokio::test]
async fn garbage_breaks_the_connection_and_nothing_else() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let garbage: [&[u8]; 5] = [
        b"\xff\xff\xff\xff",
        b"\0\0\0\x02\xff\xff",
        b"\0\0\0\0",
        // An answer that nobody asked for, and one whose length is 2^63.
        &encoded(999, written(1)),
        b"\0\0\0\x0b\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01",
    ];
    let garbage = garbage.map(<[u8]>::to_vec);
    let script = script(async move {
        for bytes in garbage {
            let mut peer = fake.greet().await;
            peer.request().await;
            peer.send(&bytes).await;
            assert_eq!(peer.request_or_end().await, None, "{bytes:?}");
        }
        let mut peer = fake.greet().await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    assert_eq!(client.get("key").await.unwrap().as_deref(), Some(&b"key"[..]));
    script.await.unwrap();
}

#[tokio::test]
async fn a_write_whose_outcome_the_server_does_not_know_is_not_sent_again() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        for code in [ErrorCode::ShuttingDown, ErrorCode::Busy] {
            let (id, asked) = peer.request().await;
            assert!(matches!(asked, Asked::Set(_)), "{asked:?}");
            let Kind::Error(mut failed) = error(code) else { unreachable!() };
            failed.outcome_unknown = true;
            peer.respond(id, Kind::Error(failed)).await;
        }
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    for code in [ErrorCode::ShuttingDown, ErrorCode::Busy] {
        let failed = client.set("key", "value").await.unwrap_err();
        assert_eq!(failed.code(), code);
        assert!(failed.is_outcome_unknown(), "{failed}");
    }
    client.get("what comes next is this").await.unwrap();
    script.await.unwrap();
}

/// An element of two bytes takes a hundred in memory.
#[tokio::test]
async fn a_response_of_very_many_elements_is_not_taken() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let (id, _) = peer.request().await;
        let answers = vec![GetResponse::default(); 100_001];
        peer.respond(id, Kind::GetMany(GetManyResponse { answers })).await;
        assert!(peer.request_or_end().await.is_none());
        let mut peer = fake.greet().await;
        let (id, _) = peer.request().await;
        let answers = vec![GetResponse::default(); 2];
        peer.respond(id, Kind::GetMany(GetManyResponse { answers })).await;
    });
    let client = quick().connect(addr).await.unwrap();
    assert_eq!(client.get_many(["a", "b"]).await.unwrap(), [None, None]);
    script.await.unwrap();
}

#[tokio::test]
async fn more_elements_than_the_server_takes_are_not_sent() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.accept().await;
        peer.greet(Limits { elements_max: 10, ..Limits::default() }).await;
        let (id, get) = peer.request().await;
        peer.respond(id, value(&key_of(&get))).await;
    });
    let client = quick().connect(addr).await.unwrap();
    let refused = client.get_many(["key"; 11]).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    let mut batch = Batch::new();
    for key in 0..10 {
        batch.set(format!("{key}"), "value");
    }
    batch.require("key", Expected::Absent);
    let refused = client.write(&batch).await.unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidRequest);
    client.get("what comes next is this").await.unwrap();
    script.await.unwrap();
}

#[tokio::test]
async fn each_write_can_ask_for_its_durability() {
    let fake = Fake::bind().await;
    let addr = fake.addr;
    let script = script(async move {
        let mut peer = fake.greet().await;
        let mut asked = Vec::new();
        for _ in 0..7 {
            let (id, request) = peer.request().await;
            asked.push(match &request {
                Asked::Remove(it) => it.durability,
                Asked::CompareAndSwap(it) => it.durability,
                Asked::Increment(it) => it.durability,
                Asked::Append(it) => it.durability,
                Asked::Expire(it) => it.durability,
                other => panic!("{other:?}"),
            });
            peer.respond(id, error(ErrorCode::Internal)).await;
        }
        asked
    });
    let client = quick().connect(addr).await.unwrap();
    let always = WriteOptions::new().durability(Durability::Always);
    client.remove_opt("key", always).await.unwrap_err();
    let swapped = client.compare_and_swap_opt("key", Expected::Absent, Some("value"), always);
    swapped.await.unwrap_err();
    client.increment_opt("key", 1, always).await.unwrap_err();
    client.append_opt("key", "value", always).await.unwrap_err();
    client.expire_at_opt("key", 1, always).await.unwrap_err();
    client.expire_after_opt("key", 1, always).await.unwrap_err();
    client.persist_opt("key", always).await.unwrap_err();
    let always: i32 = kvs::protocol::proto::messages::Durability::Always.into();
    assert_eq!(script.await.unwrap(), [always; 7]);
}
