//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a byte that means itself.
//!
//! Bytes, not characters, are matched. Of several stars only the last one that was reached is
//! tried at other places, which finds every match; so a pattern takes at most its length times
//! that of the text, and no pattern is exponential.

/// Whether a text matches a pattern as a whole. The empty text matches no pattern but the empty one
/// and a single star.
///
/// ```
/// use kvs::protocol::glob::matches;
/// assert!(matches(b"user:*:na[ma]e", b"user:17:name"));
/// assert!(!matches(b"h[^e]llo", b"hello"));
/// assert!(matches(b"\\*", b"*"));
/// ```
#[must_use]
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    if text.is_empty() {
        return pattern.is_empty() || pattern == b"*";
    }
    let (mut pattern, mut text) = (pattern, text);
    // What is behind the last star, and where in the text that is tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return true;
            }
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        let step = match (pattern, text) {
            ([], []) => return true,
            ([], _) | (_, []) => None,
            ([first, ..], [byte, after @ ..]) => {
                one(*first, pattern, *byte).map(|rest| (rest, after))
            }
        };
        if let Some((rest, after)) = step {
            (pattern, text) = (rest, after);
            continue;
        }
        match retry {
            Some((behind_star, [_, later @ ..])) => {
                retry = Some((behind_star, later));
                (pattern, text) = (behind_star, later);
            }
            _ => return false,
        }
    }
}

/// Matches one byte with the beginning of a pattern that is no star; answers with the rest.
fn one(first: u8, pattern: &[u8], byte: u8) -> Option<&[u8]> {
    match (first, pattern) {
        (b'?', [_, rest @ ..]) => Some(rest),
        (b'[', [_, rest @ ..]) => {
            let (has, rest) = class(rest, byte);
            has.then_some(rest)
        }
        (b'\\', [_, escaped, rest @ ..]) => (*escaped == byte).then_some(rest),
        (_, [_, rest @ ..]) => (first == byte).then_some(rest),
        _ => None,
    }
}

/// Whether a class, of which the bracket is taken, has a byte; and what is behind it. A class that
/// is not closed goes on to the end of the pattern.
fn class(pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    let (negated, mut rest) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut has = false;
    rest = loop {
        rest = match rest {
            [] => break rest,
            [b'\\', escaped, after @ ..] => {
                has |= *escaped == byte;
                after
            }
            [b']', after @ ..] => break after,
            [from, b'-', to, after @ ..] => {
                has |= (*from.min(to)..=*from.max(to)).contains(&byte);
                after
            }
            [single, after @ ..] => {
                has |= *single == byte;
                after
            }
        };
    };
    (has != negated, rest)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, Strategy, prop_assert_eq, prop_oneof, proptest};

    use super::{matches, one};

    #[test]
    fn patterns_match_as_in_redis() {
        let matching = [
            ("", ""),
            ("*", ""),
            ("*", "a"),
            ("**", "ab"),
            ("a*", "a"),
            ("a**", "a"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("[b-a]", "a"),
            ("[^", "x"),
            ("[a", "a"),
            ("[a-", "-"),
            ("[\\]]", "]"),
            ("[\\", "\\"),
            ("[a-]]", "]"),
            ("\\", "\\"),
            ("\\*", "*"),
            ("\\a", "a"),
            ("*a*b*c", "xaybzbc"),
            ("a]", "a]"),
            ("[]", "[]"),
            ("*[0-9]", "a7"),
        ];
        for (pattern, text) in matching {
            let expected = (pattern, text) != ("[]", "[]");
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
        }
        let others = [
            ("", "a"),
            ("**", ""),
            ("a", ""),
            ("a", "ab"),
            ("?", ""),
            ("h[^e]llo", "hello"),
            ("[", "["),
            ("[]", "]"),
            ("[]a]", "a"),
            ("\\*", "a"),
            ("*a", "ab"),
            ("A", "a"),
            ("[a-c]", "d"),
            ("[^]", ""),
        ];
        for (pattern, text) in others {
            assert!(!matches(pattern.as_bytes(), text.as_bytes()), "{pattern} {text}");
        }
    }

    #[test]
    fn no_pattern_is_exponential() {
        let pattern = b"a*".repeat(1_000);
        let text = vec![b'a'; 20_000];
        assert!(matches(&pattern, &text));
        assert!(!matches(&[&pattern[..], b"b"].concat(), &text));
    }

    /// The same by trying every place for every star.
    fn simple(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| simple(rest, &text[at..])),
            (_, []) => false,
            ([first, ..], [byte, after @ ..]) => {
                one(*first, pattern, *byte).is_some_and(|rest| simple(rest, after))
            }
        }
    }

    fn piece() -> impl Strategy<Value = &'static str> {
        prop_oneof![
            Just("*"),
            Just("?"),
            Just("a"),
            Just("b"),
            Just("[ab]"),
            Just("[^a]"),
            Just("\\*"),
            Just("[a-b"),
            Just("]"),
        ]
    }

    proptest! {
        #[test]
        fn trying_the_last_star_alone_is_enough(
            pieces in vec(piece(), 0..8),
            text in "[ab*]{1,8}",
        ) {
            let pattern = pieces.concat();
            prop_assert_eq!(
                matches(pattern.as_bytes(), text.as_bytes()),
                simple(pattern.as_bytes(), text.as_bytes()),
                "{}", pattern
            );
        }
    }
}
