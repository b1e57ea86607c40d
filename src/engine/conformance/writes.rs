//! Batches: all or nothing, in order, if what they require holds.

use super::subject::{Subject, wait};
use crate::batch::{Batch, Expected};
use crate::engine::Write;
use crate::error::{KvsError, Result};
use crate::options::{BATCH_BYTES_MAX, Durability, KEY_BYTES_MAX, VALUE_BYTES_MAX};

pub(super) fn outcomes_say_what_existed(it: &mut Subject) -> Result<()> {
    assert!(!it.set("key", "1")?.existed);
    assert!(it.set("key", "2")?.existed);
    assert!(it.remove("key")?.existed);
    assert!(!it.remove("key")?.existed);
    assert!(!it.set("key", "3")?.existed);
    let mut batch = Batch::new();
    batch.set("new", "1").remove("key");
    assert!(it.write(batch)?.existed, "one of its keys existed");
    let mut batch = Batch::new();
    batch.set("newer", "1").remove("key");
    assert!(!it.write(batch)?.existed, "none of its keys existed");
    Ok(())
}

pub(super) fn the_last_operation_on_a_key_counts(it: &mut Subject) -> Result<()> {
    it.set("removed", "before")?;
    let mut batch = Batch::new();
    batch.set("key", "1").set("other", "x").remove("key").set("key", "2");
    batch.set("removed", "1").remove("removed");
    let written = it.write(batch)?;
    let found = it.get("key")?;
    assert_eq!(found.map(|it| (it.value.into_vec(), it.seq)), Some((b"2".to_vec(), written.seq)));
    assert_eq!(it.get("removed")?, None);
    assert_eq!(it.value("other")?.as_deref(), Some(&b"x"[..]));
    assert_eq!(it.len()?, 2);
    let mut batch = Batch::new();
    batch.set_until("key", "3", it.engine.now_ms() + 60_000).set("key", "4");
    it.write(batch)?;
    assert_eq!(it.get("key")?.and_then(|found| found.expires_at_ms), None);
    Ok(())
}

pub(super) fn a_batch_is_all_or_nothing(it: &mut Subject) -> Result<()> {
    it.set("kept", "old")?;
    let refused = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        batch.set("new", "1").set("kept", "new");
        change(&mut batch);
        it.write(batch)
    };
    let too_large = vec![0; KEY_BYTES_MAX + 1];
    let outcome = refused(&|batch| {
        batch.set(&too_large, "");
    });
    assert!(matches!(outcome, Err(KvsError::KeyTooLarge { .. })), "{outcome:?}");
    let outcome = refused(&|batch| {
        batch.set_until("expired", "", 1);
    });
    assert!(matches!(outcome, Err(KvsError::InvalidExpiry { .. })), "{outcome:?}");
    let outcome = refused(&|batch| {
        batch.require("kept", Expected::Absent);
    });
    assert!(matches!(outcome, Err(KvsError::PreconditionFailed { .. })), "{outcome:?}");
    assert_eq!(it.value("kept")?.as_deref(), Some(&b"old"[..]));
    assert_eq!(it.keys()?, [b"kept"]);
    Ok(())
}

pub(super) fn requirements_of_each_kind(it: &mut Subject) -> Result<()> {
    let version = it.set("key", "value")?.seq;
    let cases = [
        ("key", Expected::Present, true),
        ("key", Expected::Absent, false),
        ("key", Expected::Version(version), true),
        ("key", Expected::Version(version + 1), false),
        ("key", Expected::Version(0), false),
        ("key", Expected::value("value"), true),
        ("key", Expected::value("valu"), false),
        ("key", Expected::value(""), false),
        ("none", Expected::Present, false),
        ("none", Expected::Absent, true),
        ("none", Expected::Version(version), false),
        ("none", Expected::value(""), false),
    ];
    for (key, expected, holds) in cases {
        let told = format!("{key} {expected:?}");
        let mut batch = Batch::new();
        batch.require(key, expected).set("written", &told);
        let outcome = it.write(batch);
        match outcome {
            Ok(_) => assert!(holds, "{told}"),
            Err(KvsError::PreconditionFailed { .. }) => assert!(!holds, "{told}"),
            Err(error) => return Err(error),
        }
        assert_eq!(it.value("written")?.as_deref() == Some(told.as_bytes()), holds, "{told}");
    }
    // The batch's own operations are not what it is asked about.
    let mut batch = Batch::new();
    batch.set("fresh", "1").require("fresh", Expected::Absent);
    it.write(batch)?;
    // A batch may do nothing but ask.
    let mut batch = Batch::new();
    batch.require("fresh", Expected::Present);
    it.write(batch.clone())?;
    batch.require("fresh", Expected::Absent);
    assert!(matches!(it.write(batch), Err(KvsError::PreconditionFailed { .. })));
    Ok(())
}

pub(super) fn the_failed_requirement_is_named(it: &mut Subject) -> Result<()> {
    it.set("a", "1")?;
    let mut batch = Batch::new();
    batch.require("a", Expected::Present).require("b", Expected::Absent);
    batch.require("c", Expected::Present).require("d", Expected::Present).set("a", "2");
    match it.write(batch) {
        Err(KvsError::PreconditionFailed { requirement, key }) => {
            assert_eq!((requirement, key), (2, b"c".to_vec()));
        }
        outcome => assert!(outcome.is_err(), "it requires what does not hold"),
    }
    Ok(())
}

/// What follows a refused write in a chain is skipped, be it refused for its conditions or for an
/// expiry of the past; what failed for another reason ends nothing.
pub(super) fn chains_end_where_one_is_refused(it: &mut Subject) -> Result<()> {
    let set = |key: &[u8], expected: Option<Expected>, chained: bool| {
        let mut batch = Batch::new();
        if let Some(expected) = expected {
            batch.require(key, expected);
        }
        batch.set(key, "value");
        Write { batch, chained, ..Write::default() }
    };
    let mut past = Write::default();
    past.batch.set_until("past", "value", 1);
    let outcomes = wait(it.engine.write(vec![
        set(b"a", None, true),
        set(&vec![0; KEY_BYTES_MAX + 1], None, true),
        set(b"b", Some(Expected::Absent), true),
        set(b"c", Some(Expected::Present), true),
        set(b"d", None, true),
        set(b"e", None, true),
        set(b"f", None, false),
        set(b"g", None, true),
        past,
        set(b"h", None, true),
    ]))?;
    let kinds: Vec<char> = outcomes
        .iter()
        .map(|outcome| match outcome {
            Ok(_) => 'o',
            Err(KvsError::PreconditionFailed { .. }) => 'r',
            Err(KvsError::Skipped) => 's',
            Err(_) => 'e',
        })
        .collect();
    assert_eq!(String::from_iter(kinds), "oeorssooes");
    assert_eq!(it.value("d")?, None);
    assert_eq!(it.value("g")?.as_deref(), Some(&b"value"[..]));
    Ok(())
}

/// What is behind a refused write stays skipped where one between them has failed as well, be they
/// appended together or not.
pub(super) fn no_failure_mends_a_chain(it: &mut Subject) -> Result<()> {
    let chained = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        change(&mut batch);
        Write { batch, chained: true, ..Write::default() }
    };
    let large = vec![0; BATCH_BYTES_MAX / 2];
    for value in [&b"value"[..], &[0; 2 << 20]] {
        let outcomes = wait(it.engine.write(vec![
            chained(&|batch| {
                batch.require("a", Expected::Present).set("a", value);
            }),
            chained(&|batch| {
                batch.set("b", &large).set("c", &large);
            }),
            chained(&|batch| {
                batch.set("d", value);
            }),
            chained(&|batch| {
                batch.remove("e");
            }),
        ]))?;
        assert!(
            matches!(
                outcomes[..],
                [
                    Err(KvsError::PreconditionFailed { .. }),
                    Err(KvsError::Skipped),
                    Err(KvsError::Skipped),
                    Err(KvsError::Skipped)
                ]
            ),
            "{outcomes:?}"
        );
    }
    assert_eq!(it.len()?, 0);
    Ok(())
}

/// Each for itself, but in order: a later one is decided on what an earlier one has written.
pub(super) fn several_writes_in_one_call(it: &mut Subject) -> Result<()> {
    let write = |change: &dyn Fn(&mut Batch)| {
        let mut batch = Batch::new();
        change(&mut batch);
        Write { batch, ..Write::default() }
    };
    let outcomes = wait(it.engine.write(vec![
        write(&|batch| {
            batch.set("key", "1");
        }),
        write(&|batch| {
            batch.require("key", Expected::value("1")).set("key", "2");
        }),
        write(&|batch| {
            batch.require("key", Expected::value("1")).set("key", "3");
        }),
        write(&|batch| {
            batch.set(vec![0; KEY_BYTES_MAX + 1], "");
        }),
        write(&|batch| {
            batch.remove("key");
        }),
        write(&|batch| {
            batch.require("key", Expected::Absent).set("key", "4");
        }),
        write(&|_| ()),
    ]))?;
    let [first, second, third, fourth, fifth, sixth, _] = &outcomes[..] else {
        assert_eq!(outcomes.len(), 7, "an outcome for each write");
        return Ok(());
    };
    assert!(matches!(third, Err(KvsError::PreconditionFailed { requirement: 0, .. })));
    assert!(matches!(fourth, Err(KvsError::KeyTooLarge { .. })));
    let mut seqs = Vec::new();
    for (outcome, existed) in [(first, false), (second, true), (fifth, true), (sixth, false)] {
        let written = outcome.clone()?;
        assert_eq!(written.existed, existed);
        seqs.push(written.seq);
    }
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    let found = it.get("key")?;
    let last = seqs.last().map(|seq| (b"4".to_vec(), *seq));
    assert_eq!(found.map(|it| (it.value.into_vec(), it.seq)), last);
    assert!(wait(it.engine.write(Vec::new()))?.is_empty());
    Ok(())
}

pub(super) fn compare_and_swap(it: &mut Subject) -> Result<()> {
    let swap = |expected: Expected, new: Option<&str>| {
        let new = new.map(str::as_bytes);
        wait(it.engine.compare_and_swap(b"key", expected, new, None))
    };
    let first = swap(Expected::Absent, Some("1"))?;
    let version = first.map_or(0, |written| written.seq);
    assert!(first.is_some_and(|written| !written.existed));
    assert_eq!(swap(Expected::Absent, Some("2"))?, None);
    let second = swap(Expected::Version(version), Some("2"))?;
    assert!(second.is_some_and(|written| written.existed && written.seq > version));
    assert_eq!(swap(Expected::Version(version), Some("3"))?, None);
    assert_eq!(it.value("key")?.as_deref(), Some(&b"2"[..]));
    assert_eq!(swap(Expected::value("1"), None)?, None);
    assert!(swap(Expected::value("2"), None)?.is_some());
    assert_eq!(it.get("key")?, None);
    Ok(())
}

pub(super) fn limits_are_kept(it: &mut Subject) -> Result<()> {
    let long_key = vec![0; KEY_BYTES_MAX + 1];
    let is_too_large = |outcome: Result<_>| {
        matches!(outcome, Err(KvsError::KeyTooLarge { bytes, limit })
            if (bytes, limit) == (KEY_BYTES_MAX + 1, KEY_BYTES_MAX))
    };
    assert!(is_too_large(it.set(&long_key, "")));
    assert!(is_too_large(it.remove(&long_key)));
    let mut batch = Batch::new();
    batch.require(&long_key, Expected::Absent).set("key", "value");
    assert!(is_too_large(it.write(batch)));
    let outcome = it.set("key", vec![0; VALUE_BYTES_MAX + 1]);
    assert!(matches!(outcome, Err(KvsError::ValueTooLarge { limit: VALUE_BYTES_MAX, .. })));
    let mut batch = Batch::new();
    batch.set("a", vec![0; BATCH_BYTES_MAX / 2]).set("b", vec![0; BATCH_BYTES_MAX / 2]);
    let outcome = it.write(batch);
    assert!(matches!(outcome, Err(KvsError::BatchTooLarge { limit: BATCH_BYTES_MAX, .. })));
    assert_eq!(it.len()?, 0);
    // Asking for a key that cannot be is no error: it is not there.
    assert_eq!(it.get(&long_key)?, None);
    Ok(())
}

pub(super) fn versions_rise(it: &mut Subject) -> Result<()> {
    let mut last = 0;
    for number in 0..20 {
        let key = format!("key {}", number % 3);
        let seq = match number % 5 {
            4 => it.remove(&key)?.seq,
            _ => it.set(&key, "value")?.seq,
        };
        assert!(seq > last, "{seq} after {last}");
        last = seq;
    }
    let mut batch = Batch::new();
    batch.set("a", "1").set("b", "2");
    let written = it.write(batch)?;
    assert!(written.seq > last);
    for key in ["a", "b"] {
        assert_eq!(it.get(key)?.map(|found| found.seq), Some(written.seq));
    }
    // What is refused changes no version.
    assert_eq!(wait(it.engine.compare_and_swap(b"a", Expected::Absent, None, None))?, None);
    assert_eq!(it.get("a")?.map(|found| found.seq), Some(written.seq));
    Ok(())
}

pub(super) fn each_durability(it: &mut Subject) -> Result<()> {
    let asked = [Durability::Os, Durability::Interval(10), Durability::Always];
    for (number, durability) in asked.into_iter().enumerate() {
        let mut batch = Batch::new();
        batch.set("key", number.to_string());
        let write = Write { batch, durability: Some(durability), chained: false };
        let outcomes = wait(it.engine.write(vec![write]))?;
        assert!(matches!(outcomes[..], [Ok(_)]), "{durability:?}: {outcomes:?}");
        assert_eq!(it.value("key")?, Some(number.to_string().into_bytes()));
    }
    Ok(())
}
