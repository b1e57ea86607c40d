//! Frames of the project's own protocol: four bytes of length, the highest first, and a message.
//!
//! They are cut out of what was read without a copy. Nothing is reserved for a length that was
//! merely announced: a buffer grows with what has come.

use bytes::{Buf, Bytes, BytesMut};

/// What stands before each message, in bytes.
pub const HEAD_BYTES: usize = 4;

/// The largest frame, in bytes behind its head, unless both sides say otherwise.
pub const FRAME_BYTES_MAX: usize = 64 << 20;

/// The least that a client can take, in bytes behind the head: every answer without a value fits.
pub const FRAME_BYTES_MIN: usize = 4 << 10;

/// The largest frame before a client has given its password, and of a hello. The first byte of a
/// connection is 0 then, which begins neither a Redis command nor TLS.
pub const FIRST_FRAME_BYTES_MAX: usize = 16 << 10;

/// The largest frame that can be allowed: the largest key, the largest value, and what is around
/// them.
pub const FRAME_BYTES_LIMIT: usize = crate::KEY_BYTES_MAX + crate::VALUE_BYTES_MAX + (64 << 10);

// What the head can say.
const _: () = assert!(FRAME_BYTES_LIMIT < 1 << 30);
const _: () = assert!(FIRST_FRAME_BYTES_MAX < 1 << 24);

/// A frame over the limit. What follows on its connection cannot be read.
///
/// ```
/// use kvs::protocol::frame;
/// let mut buffer = bytes::BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 1][..]);
/// let too_large = frame::take(&mut buffer, frame::FRAME_BYTES_MAX).unwrap_err();
/// assert_eq!(too_large.bytes, 0xffff_ffff);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of {bytes} bytes; the limit is {limit}")]
pub struct FrameTooLarge {
    /// Its length in bytes, behind its head.
    pub bytes: u64,
    /// The limit in bytes.
    pub limit: u64,
}

/// Takes the first message off what was read; none: it has not come to its end yet.
///
/// # Errors
/// [`FrameTooLarge`], as soon as its head has come.
///
/// ```
/// use kvs::protocol::frame;
/// let mut buffer = bytes::BytesMut::from(&b"\0\0\0\x02hi\0\0"[..]);
/// assert_eq!(frame::take(&mut buffer, 100)?.as_deref(), Some(&b"hi"[..]));
/// assert_eq!(frame::take(&mut buffer, 100)?, None);
/// assert_eq!(&buffer[..], b"\0\0");
/// # Ok::<(), frame::FrameTooLarge>(())
/// ```
pub fn take(buffer: &mut BytesMut, bytes_max: usize) -> Result<Option<Bytes>, FrameTooLarge> {
    let Some(head) = buffer.first_chunk::<HEAD_BYTES>() else {
        return Ok(None);
    };
    let announced = u32::from_be_bytes(*head);
    let len = usize::try_from(announced).unwrap_or(usize::MAX);
    if len > bytes_max {
        return Err(FrameTooLarge { bytes: announced.into(), limit: to_u64(bytes_max) });
    }
    if buffer.len() - HEAD_BYTES < len {
        return Ok(None);
    }
    buffer.advance(HEAD_BYTES);
    Ok(Some(buffer.split_to(len).freeze()))
}

/// Adds a frame to `out`, of the message that `encode` adds.
///
/// # Errors
/// [`FrameTooLarge`]; then `out` is as it was.
///
/// ```
/// use kvs::protocol::frame;
/// let mut out = Vec::new();
/// frame::put(&mut out, 100, |out| out.extend_from_slice(b"hi"))?;
/// assert_eq!(out, b"\0\0\0\x02hi");
/// # Ok::<(), frame::FrameTooLarge>(())
/// ```
pub fn put(
    out: &mut Vec<u8>,
    bytes_max: usize,
    encode: impl FnOnce(&mut Vec<u8>),
) -> Result<(), FrameTooLarge> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    encode(out);
    let len = out.len() - start - HEAD_BYTES;
    let head = u32::try_from(len).ok().filter(|_| len <= bytes_max);
    let place = out.get_mut(start..start + HEAD_BYTES);
    if let (Some(head), Some(place)) = (head, place) {
        place.copy_from_slice(&head.to_be_bytes());
        return Ok(());
    }
    out.truncate(start);
    Err(FrameTooLarge { bytes: to_u64(len), limit: to_u64(bytes_max) })
}

pub(crate) fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use proptest::prelude::{any, proptest};
    use proptest::{collection, prop_assert, prop_assert_eq};

    use super::{FrameTooLarge, put, take};

    proptest! {
        /// However what comes is cut, the frames are the same.
        #[test]
        fn any_split_gives_the_same_frames(
            messages in collection::vec(collection::vec(any::<u8>(), 0..300), 0..20),
            pieces in collection::vec(1..97_usize, 1..40),
        ) {
            let mut sent = Vec::new();
            for message in &messages {
                put(&mut sent, 300, |out| out.extend_from_slice(message)).unwrap();
            }
            let (mut buffer, mut got) = (BytesMut::new(), Vec::new());
            let mut rest = &sent[..];
            for piece in pieces.iter().cycle() {
                let (now, later) = rest.split_at((*piece).min(rest.len()));
                buffer.extend_from_slice(now);
                while let Some(message) = take(&mut buffer, 300).unwrap() {
                    got.push(message.to_vec());
                }
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(got, messages);
            prop_assert!(buffer.is_empty());
        }

        /// Whatever comes: no panic, and no more memory than what has come.
        #[test]
        fn garbage_is_a_frame_a_wait_or_an_error(
            garbage in collection::vec(any::<u8>(), 0..200),
            bytes_max in 0..10_000_usize,
        ) {
            let mut buffer = BytesMut::from(&garbage[..]);
            let capacity = buffer.capacity();
            while let Ok(Some(message)) = take(&mut buffer, bytes_max) {
                prop_assert!(message.len() <= bytes_max);
            }
            prop_assert!(buffer.capacity() <= capacity);
        }
    }

    #[test]
    fn the_limit_is_kept_both_ways() {
        let mut out = b"before".to_vec();
        assert_eq!(
            put(&mut out, 3, |out| out.extend_from_slice(b"four")),
            Err(FrameTooLarge { bytes: 4, limit: 3 })
        );
        assert_eq!(out, b"before");
        for (head, taken) in [(99_u32, true), (100, true), (101, false), (u32::MAX, false)] {
            let mut buffer = BytesMut::from(&head.to_be_bytes()[..]);
            buffer.resize(4 + 101, 7);
            let message = take(&mut buffer, 100);
            assert_eq!(message.is_ok(), taken, "{head}");
        }
    }
}
