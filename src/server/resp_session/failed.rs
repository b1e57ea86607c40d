//! Which of several replies are errors, for the counters: read off what was encoded, as a step may
//! be decided more than once before its reply stands.

use crate::protocol::resp::number::integer;

/// Of each of the replies that stand one behind the other, whether it is an error.
pub(super) fn which_failed(mut replies: &[u8]) -> impl Iterator<Item = bool> {
    std::iter::from_fn(move || {
        let is_error = *replies.first()? == b'-';
        replies = behind_first(replies);
        Some(is_error)
    })
}

/// What is behind the first reply.
fn behind_first(mut replies: &[u8]) -> &[u8] {
    let mut missing = 1_usize;
    while missing > 0 {
        let Some(end) = replies.iter().position(|byte| *byte == b'\n') else {
            return &[];
        };
        let (line, behind) = replies.split_at(end + 1);
        let len = line.get(1..).and_then(|rest| rest.strip_suffix(b"\r\n")).and_then(integer);
        // A length below 0 says that there is nothing.
        let len = len.and_then(|len| usize::try_from(len).ok());
        replies = behind;
        missing -= 1;
        match (line.first(), len) {
            (Some(b'$' | b'='), Some(len)) => {
                replies = replies.get(len + 2..).unwrap_or_default();
            }
            (Some(b'*' | b'~'), Some(len)) => missing += len,
            (Some(b'%'), Some(len)) => missing += 2 * len,
            _ => {}
        }
    }
    replies
}

#[cfg(test)]
mod tests {
    use super::which_failed;
    use crate::protocol::resp::{ReplyError, RespReplies, RespVersion};

    #[test]
    fn errors_are_told_from_bytes_that_look_like_some() {
        for version in [RespVersion::Two, RespVersion::Three] {
            let mut replies = RespReplies::new(version);
            replies.bulk(b"\r\n-ERR\r\n");
            replies.error(&ReplyError::SYNTAX);
            replies.null();
            replies.array(3);
            replies.null();
            replies.error(&ReplyError::SYNTAX);
            replies.map(1);
            replies.bulk(b"-");
            replies.set(0);
            replies.error(&ReplyError::SYNTAX);
            replies.verbatim(b"-");
            replies.integer(-1);
            replies.null_array();
            let failed: Vec<bool> = which_failed(replies.as_bytes()).collect();
            assert_eq!(failed, [false, true, false, false, true, false, false, false]);
        }
    }
}
