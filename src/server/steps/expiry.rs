//! When keys expire.

use super::{Decided, Decision};
use crate::protocol::resp::ReplyError;
use crate::protocol::resp::string_step::{Expire, ExpiryChange, GetEx};

/// What is answered for a key that is not there, and for one that does not expire.
const NO_KEY: i64 = -2;
const NO_EXPIRY: i64 = -1;

impl GetEx {
    /// Whether it may write.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.change, ExpiryChange::Nothing | ExpiryChange::At(Err(_)))
    }
}

pub(super) fn decide_getex(getex: &GetEx, mut decision: Decision<'_>) -> Decided {
    let Some(found) = decision.current() else {
        decision.replies.null();
        return Ok(());
    };
    match &getex.change {
        ExpiryChange::Nothing => {}
        ExpiryChange::Persist if found.expires_at_ms.is_none() => {}
        ExpiryChange::Persist => decision.put(&getex.key, &found.value, None),
        ExpiryChange::At(moment) => {
            let at_ms = moment.clone()?.at_ms(decision.now_ms);
            let at_ms = at_ms.ok_or_else(|| ReplyError::invalid_expiry("getex"))?;
            decision.put(&getex.key, &found.value, Some(at_ms.max(0).unsigned_abs()));
        }
    }
    decision.replies.bulk(&found.value);
    Ok(())
}

pub(super) fn decide_expire(expire: &Expire, mut decision: Decision<'_>) -> Decided {
    let at_ms = expire.moment.at_ms(decision.now_ms);
    let at_ms = at_ms.ok_or_else(|| ReplyError::invalid_expiry(expire.command))?;
    let at_ms = at_ms.max(0).unsigned_abs();
    let found = decision.current().filter(|found| {
        let before = found.expires_at_ms;
        let is_later = before.is_some_and(|before| at_ms > before);
        let is_earlier = before.is_none_or(|before| at_ms < before);
        expire.only_if_expiring.is_none_or(|expiring| expiring == before.is_some())
            && expire.only_if_later.is_none_or(|later| if later { is_later } else { is_earlier })
    });
    if let Some(found) = found {
        decision.put(&expire.key, &found.value, Some(at_ms));
    }
    decision.replies.flag(found.is_some());
    Ok(())
}

pub(super) fn decide_ttl(is_absolute: bool, in_ms: bool, decision: Decision<'_>) -> Decided {
    let Some(found) = decision.current() else {
        decision.replies.integer(NO_KEY);
        return Ok(());
    };
    let Some(at_ms) = found.expires_at_ms else {
        decision.replies.integer(NO_EXPIRY);
        return Ok(());
    };
    let ms = if is_absolute { at_ms } else { at_ms.saturating_sub(decision.now_ms) };
    let answer = if in_ms { ms } else { ms.saturating_add(500) / 1000 };
    decision.replies.integer(i64::try_from(answer).unwrap_or(i64::MAX));
    Ok(())
}

pub(super) fn decide_persist(key: &[u8], mut decision: Decision<'_>) -> Decided {
    let found = decision.current().filter(|found| found.expires_at_ms.is_some());
    if let Some(found) = found {
        decision.put(key, &found.value, None);
    }
    decision.replies.flag(found.is_some());
    Ok(())
}
