//! Steps with engines that do not keep their promises.

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::super::test_engine::TestEngine;
use super::{Bounds, KvsError, execute};
use crate::options::Expiry;
use crate::protocol::frame;
use crate::protocol::proto::messages::response::Kind;
use crate::protocol::proto::messages::{Code, Response};
use crate::protocol::proto::request::{Action, KeyCommand};
use crate::server::config::Config;
use crate::server::proto_steps::{ProtoReplies, ProtoStep};
use crate::store::Written;

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
