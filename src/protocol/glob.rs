//! Patterns as Redis has them: `*`, `?`, `[a-z]`, `[^a-z]` and `\` before a byte that means itself.
//!
//! Bytes, not characters, are matched. Of several stars only the last one that was reached is
//! tried at other places, which finds every match; so a pattern takes at most its length times
//! that of the text, and no pattern is exponential. Where a client chooses both, that is still too
//! much: such a match has a budget.

/// Steps that are enough for any pattern of some use on a key of 1 MiB, in about 20 ms.
pub(crate) const STEPS_MAX: usize = 8 << 20;

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
    let mut steps = usize::MAX;
    matches_within(pattern, text, &mut steps).unwrap_or(false)
}

/// The same in so many steps, which are taken from the budget; none: there were too few. A step is
/// a byte of the pattern, tried at some place of the text.
///
/// ```
/// use kvs::protocol::glob::matches_within;
/// let mut steps = 1000;
/// assert_eq!(matches_within(b"user:*", b"user:17", &mut steps), Some(true));
/// assert!(steps > 980);
/// let (pattern, text) = ([b"*", &[b'a'; 500][..], b"b"].concat(), [b'a'; 1000]);
/// assert_eq!(matches_within(&pattern, &text, &mut steps), None);
/// ```
pub fn matches_within(pattern: &[u8], text: &[u8], steps: &mut usize) -> Option<bool> {
    if text.is_empty() {
        return Some(pattern.is_empty() || pattern == b"*");
    }
    let (mut pattern, mut text) = (pattern, text);
    // What is behind the last star, and where in the text that is tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        *steps = steps.checked_sub(1)?;
        if let [b'*', rest @ ..] = pattern {
            if rest.is_empty() {
                return Some(true);
            }
            retry = Some((rest, text));
            pattern = rest;
            continue;
        }
        let step = match (pattern, text) {
            ([], []) => return Some(true),
            ([], _) | (_, []) => None,
            ([first, ..], [byte, after @ ..]) => {
                let (is_it, rest) = one(*first, pattern, *byte);
                // Classes may be long.
                *steps = steps.checked_sub(pattern.len() - rest.len() - 1)?;
                is_it.then_some((rest, after))
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
            _ => return Some(false),
        }
    }
}

/// Whether one byte matches the beginning of a pattern that is no star; and the rest of that.
fn one(first: u8, pattern: &[u8], byte: u8) -> (bool, &[u8]) {
    match (first, pattern) {
        (b'?', [_, rest @ ..]) => (true, rest),
        (b'[', [_, rest @ ..]) => class(rest, byte),
        (b'\\', [_, escaped, rest @ ..]) => (*escaped == byte, rest),
        (_, [_, rest @ ..]) => (first == byte, rest),
        (_, []) => (false, pattern),
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

    use super::{STEPS_MAX, matches, matches_within, one};

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

    #[test]
    fn a_match_ends_with_its_budget() {
        let text = vec![b'a'; 200_000];
        for piece in [&b"a"[..], b"?", b"[ab]", b"\\a"] {
            let pattern = [b"*", &piece.repeat(100_000)[..], b"b"].concat();
            let mut steps = STEPS_MAX;
            assert_eq!(matches_within(&pattern, &text, &mut steps), None);
        }
        let class = [b"*[", &[b'b'; 100_000][..], b"]"].concat();
        assert_eq!(matches_within(&class, &text, &mut STEPS_MAX.clone()), None);
        // What people look for costs about three steps a byte.
        for pattern in [&b"*aab*"[..], b"a*b*c*", b"*[b-z]*"] {
            let mut steps = STEPS_MAX;
            assert_eq!(matches_within(pattern, &text, &mut steps), Some(false));
            assert!(STEPS_MAX - steps < 2_000_000, "{}", STEPS_MAX - steps);
        }
    }

    /// The same by trying every place for every star.
    fn simple(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| simple(rest, &text[at..])),
            (_, []) => false,
            ([first, ..], [byte, after @ ..]) => {
                let (is_it, rest) = one(*first, pattern, *byte);
                is_it && simple(rest, after)
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
