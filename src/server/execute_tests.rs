//! Steps with engines that do not keep their promises.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::super::test_engine::TestEngine;
use super::{Bounds, KvsError, Needs, execute, read_for};
use crate::options::Expiry;
use crate::protocol::frame;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{Code, Response};
use crate::protocol::proto::request::{Action, KeyCommand};
use crate::server::config::Config;
use crate::server::proto_steps::{ProtoReplies, ProtoStep};
use crate::server::transaction::execute_as_one;
use crate::store::{Versioned, Written};

fn step(id: u64, action: Action) -> ProtoStep {
    let command = KeyCommand { action, durability: None };
    ProtoStep { id, command, frame_bytes_max: 1000, value_bytes_max: 1000 }
}

fn set(id: u64) -> ProtoStep {
    let key = Bytes::from(id.to_string());
    step(id, Action::Set { key, value: Bytes::new(), expiry: Expiry::Never, condition: None })
}

/// The answers to all of some steps: the errors, and whether a write may have had its effect.
async fn answers(engine: &TestEngine, steps: &[ProtoStep]) -> Vec<(u64, Option<(Code, bool)>)> {
    let mut replies = ProtoReplies::default();
    let bounds = Bounds::new(&Config::default(), usize::MAX);
    assert_eq!(execute(engine, steps, &mut replies, bounds).await, steps.len());
    let mut replies = BytesMut::from(&replies.0[..]);
    let next = || frame::take(&mut replies, 1000).unwrap();
    std::iter::from_fn(next)
        .map(|frame| match Response::decode(frame).unwrap() {
            Response { id, kind: Some(Kind::Error(error)) } => {
                (id, Some((error.code(), error.outcome_unknown)))
            }
            Response { id, .. } => (id, None),
        })
        .collect()
}

#[tokio::test]
async fn too_few_or_too_many_outcomes_tell_nothing() {
    let written = |count| vec![Ok(Written { seq: 7, existed: false }); count];
    let steps = [set(1), set(2)];
    for count in [0, 1, 3] {
        let engine = TestEngine { outcomes: Some(written(count)), ..TestEngine::default() };
        let lost = Some((Code::Internal, true));
        assert_eq!(answers(&engine, &steps).await, [(1, lost), (2, lost)], "{count}");
    }
    let engine = TestEngine { outcomes: Some(written(2)), ..TestEngine::default() };
    assert_eq!(answers(&engine, &steps).await, [(1, None), (2, None)]);
}

#[tokio::test]
async fn too_few_or_too_many_values_tell_nothing() {
    let keys = vec![Bytes::new(); 2];
    let steps = [step(1, Action::GetMany { keys, without_values: false })];
    for count in [0, 1, 3] {
        let engine = TestEngine { found: Some(vec![None; count]), ..TestEngine::default() };
        let lost = Some((Code::Internal, false));
        assert_eq!(answers(&engine, &steps).await, [(1, lost)], "{count}");
    }
}

/// It says no to whatever has an expiry, as an engine does where the time has passed.
#[tokio::test]
async fn an_expiry_that_is_always_over_is_answered_in_the_end() {
    let over = KvsError::InvalidExpiry { expires_at_ms: 5, now_ms: 6 };
    let engine = TestEngine { outcomes: Some(vec![Err(over)]), ..TestEngine::default() };
    let over = Some((Code::InvalidExpiry, false));
    assert_eq!(answers(&engine, &[set(1)]).await, [(1, over)]);
}

/// Each call of the engine has one write.
#[tokio::test]
async fn what_is_written_together_is_bounded() {
    let written = vec![Ok(Written { seq: 7, existed: false })];
    let engine = TestEngine { outcomes: Some(written), ..TestEngine::default() };
    let long = |id: u64| {
        let (key, value) = (Bytes::from(id.to_string()), Bytes::from(vec![0; 4 << 20]));
        step(id, Action::Set { key, value, expiry: Expiry::Never, condition: None })
    };
    assert_eq!(answers(&engine, &[long(1), long(2)]).await, [(1, None), (2, None)]);
}

/// What `EXEC` reads is as of one moment already, so an engine that can write nothing will do.
#[tokio::test]
async fn a_transaction_that_writes_nothing_is_no_write() {
    let found = || Some(vec![None]);
    let outcomes = || Some(vec![Err(KvsError::Closed)]);
    let engine = TestEngine { found: found(), outcomes: outcomes(), ..TestEngine::default() };
    let get = step(1, Action::Get { key: Bytes::from_static(b"a"), without_value: false });
    let bounds = || Bounds::new(&Config::default(), usize::MAX);
    let mut replies = ProtoReplies::default();
    let done = execute_as_one(&engine, &[], &[get], &mut replies, bounds()).await;
    assert_eq!(done.unwrap(), Some(vec![0]));
    let written = execute_as_one(&engine, &[], &[set(1)], &mut replies, bounds()).await;
    assert!(matches!(written, Err(KvsError::Closed)), "{written:?}");
}

#[tokio::test]
async fn the_last_value_counts_in_what_is_read() {
    let value = |bytes: usize| Versioned::new(vec![0; bytes].into(), 1, None);
    let found = Some(vec![Some(value(8)), Some(value(8))]);
    let engine = TestEngine { found, ..TestEngine::default() };
    let keys = vec![Bytes::from_static(b"a"); 2];
    let bounds = Bounds::new(&Config::default(), usize::MAX);
    for (bytes_max, is_read) in [(15, false), (16, true)] {
        let read = read_for(&engine, &keys, Needs::Answer { bytes_max }, &bounds).await;
        assert_eq!(read.is_ok(), is_read, "{bytes_max}");
    }
}
