//! The words of a line, as of a shell: quotes, and escapes for bytes.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Splits a line at blanks. In single quotes everything is as it is; elsewhere `\` begins an
/// escape: `\n`, `\r`, `\t`, `\xHH`, or the character after it.
pub fn split(line: &[u8]) -> Result<Vec<OsString>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = line;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match (quote, *byte) {
            (None, b' ' | b'\t' | b'\r' | b'\n') => {
                words.extend(word.take().map(OsString::from_vec));
            }
            (None, b'\'' | b'"') => {
                quote = Some(*byte);
                word.get_or_insert_default();
            }
            (Some(open), byte) if byte == open => quote = None,
            (None | Some(b'"'), b'\\') => {
                let (escaped, after) = escape(rest)?;
                rest = after;
                word.get_or_insert_default().push(escaped);
            }
            (_, byte) => word.get_or_insert_default().push(byte),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word.map(OsString::from_vec));
    Ok(words)
}

/// The byte of an escape, and what stands behind it.
fn escape(rest: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    match rest {
        [b'n', rest @ ..] => Ok((b'\n', rest)),
        [b'r', rest @ ..] => Ok((b'\r', rest)),
        [b't', rest @ ..] => Ok((b'\t', rest)),
        [b'x', high, low, rest @ ..] => match (digit(*high), digit(*low)) {
            (Some(high), Some(low)) => Ok((high << 4 | low, rest)),
            _ => Err("\\x needs two hexadecimal digits"),
        },
        [b'x', ..] => Err("\\x needs two hexadecimal digits"),
        [byte, rest @ ..] => Ok((*byte, rest)),
        [] => Err("there is nothing behind the last \\"),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::{OsStringExt, split};

    #[test]
    fn words_are_split_as_a_shell_does() {
        let cases: [(&str, &[&[u8]]); 8] = [
            ("", &[]),
            ("  set  k\tv\n", &[b"set", b"k", b"v"]),
            ("set 'a b' \"c d\"", &[b"set", b"a b", b"c d"]),
            ("a'b'\"c\"", &[b"abc"]),
            ("'' \"\"", &[b"", b""]),
            (r"\n\t\x00\xfF\\\ ", &[b"\n\t\0\xff\\ "]),
            (r"'\n' \'", &[b"\\n", b"'"]),
            ("é", &["é".as_bytes()]),
        ];
        for (line, words) in cases {
            let split = split(line.as_bytes()).unwrap();
            let split: Vec<_> = split.into_iter().map(OsStringExt::into_vec).collect();
            assert_eq!(split, words, "{line}");
        }
        for bad in ["'", "\"a", "\\", "\\x", "\\x1", "\\xg0"] {
            assert!(split(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
