//! Inline commands: a line of words, as typed into a terminal.

use bytes::Bytes;

/// The words of a line; none if its quotes are not balanced.
///
/// Words are parted by blanks. Double quotes may hold `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH` and
/// `\` before any other byte; single quotes only `\'`. A closing quote ends its word, so a blank
/// or the end of the line must follow. A zero byte ends the line.
///
/// ```
/// use kvs::protocol::resp::inline::words;
/// let found = words(br#"SET "a \x41" 'it''s'"#);
/// assert_eq!(found, None);
/// let found = words(br#"SET "a \x41" 'it\'s'"#).expect("its quotes are balanced");
/// assert_eq!(found, [&b"SET"[..], b"a A", b"it's"]);
/// ```
#[must_use]
pub fn words(line: &[u8]) -> Option<Vec<Bytes>> {
    let mut words = Vec::new();
    let mut rest = line.split(|byte| *byte == 0).next().unwrap_or_default();
    loop {
        rest = rest.trim_ascii_start();
        // Also a blank in C, but not in Rust.
        if let [0x0b, after @ ..] = rest {
            rest = after;
            continue;
        }
        if rest.is_empty() {
            return Some(words);
        }
        let (word, after) = first_word(rest)?;
        words.push(Bytes::from(word));
        rest = after;
    }
}

/// The word at the beginning of a line, and what is behind it.
fn first_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        rest = match rest {
            [] | [b' ' | b'\n' | b'\r' | b'\t', ..] => return Some((word, rest)),
            [quote @ (b'"' | b'\''), after @ ..] => {
                let after = quoted(*quote, after, &mut word)?;
                let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
                return after.first().is_none_or(is_blank).then_some((word, after));
            }
            [byte, after @ ..] => {
                word.push(*byte);
                after
            }
        };
    }
}

/// Adds what is quoted to the word; answers with what is behind the closing quote.
fn quoted<'a>(quote: u8, mut rest: &'a [u8], word: &mut Vec<u8>) -> Option<&'a [u8]> {
    loop {
        let (byte, after) = match rest {
            [byte, after @ ..] if *byte == quote => return Some(after),
            [b'\\', b'x', high, low, after @ ..]
                if quote == b'"' && high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
                (hex_digit(*high) << 4 | hex_digit(*low), after)
            }
            [b'\\', escaped, after @ ..] if quote == b'"' => (unescape(*escaped), after),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
    }
}

fn unescape(escaped: u8) -> u8 {
    match escaped {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    }
}

fn hex_digit(digit: u8) -> u8 {
    match digit {
        b'a'..=b'f' => digit - b'a' + 10,
        b'A'..=b'F' => digit - b'A' + 10,
        _ => digit & 0x0f,
    }
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn words_are_parted_and_unquoted() {
        let cases: [(&[u8], &[&[u8]]); 11] = [
            (b"", &[]),
            (b" \t\x0b\x0c ", &[]),
            (b"PING", &[b"PING"]),
            (b"  SET  k\tv ", &[b"SET", b"k", b"v"]),
            (br#"a "" ''"#, &[b"a", b"", b""]),
            (br#""\x41\xfF\n\q\\\"" x"#, &[b"A\xff\nq\\\"", b"x"]),
            (br#""\xZZ""#, &[b"xZZ"]),
            (br#"'a\'b\n'"#, &[b"a'b\\n"]),
            (br#"foo"bar baz""#, &[b"foobar baz"]),
            (b"a\x0bb", &[b"a\x0bb"]),
            (b"'a'\x0bb", &[b"a", b"b"]),
        ];
        for (line, expected) in cases {
            let found = words(line).unwrap_or_else(|| panic!("{}", line.escape_ascii()));
            assert_eq!(found, expected, "{}", line.escape_ascii());
        }
        let unbalanced: [&[u8]; 6] = [b"\"", b"'", b"a \"b", b"\"a\"b", b"'a'b c", b"\"\\"];
        for line in unbalanced {
            assert_eq!(words(line), None, "{}", line.escape_ascii());
        }
    }
}
