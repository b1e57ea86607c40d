//! Adding numbers with places behind the point, for `INCRBYFLOAT`.
//!
//! Redis adds in the 80-bit format of one processor family. Here decimal numbers of up to 17 places
//! behind the point and 20 before it are added exactly, so `0.1` and `0.2` are `0.3` as in Redis;
//! others, and those with exponents, in 64-bit floating point.

use super::number::{float, put_plain_float};

/// Places behind the point, as many as Redis writes.
const PLACES: usize = 17;
/// One, in units of the last place.
const ONE: i128 = 10_i128.pow(17);
/// Digits before the point: two such numbers can be added without leaving 128 bits.
const WHOLE_DIGITS_MAX: usize = 20;

/// A number that is to be added.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Addend {
    /// In units of the last place, where it can be said so.
    exact: Option<i128>,
    inexact: f64,
}

impl Addend {
    /// Reads a number; none if it is none.
    ///
    /// ```
    /// use kvs::protocol::resp::decimal::Addend;
    /// let (a, b) = (Addend::parse(b"0.1"), Addend::parse(b"2e-1"));
    /// assert!(a.is_some() && b.is_some());
    /// assert_eq!(Addend::parse(b"1 "), None);
    /// ```
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Addend> {
        Some(Addend { inexact: float(text)?, exact: exact(text) })
    }

    /// The sum in decimal, without an exponent and without zeros at the end; none if it is
    /// infinite.
    ///
    /// ```
    /// use kvs::protocol::resp::decimal::Addend;
    /// let sum = |a: &str, b: &str| {
    ///     let a = Addend::parse(a.as_bytes())?;
    ///     let sum = a.sum(&Addend::parse(b.as_bytes())?)?;
    ///     String::from_utf8(sum).ok()
    /// };
    /// assert_eq!(sum("0.1", "0.2").as_deref(), Some("0.3"));
    /// assert_eq!(sum("10.50", "-0.5").as_deref(), Some("10"));
    /// assert_eq!(sum("5e3", "2").as_deref(), Some("5002"));
    /// assert_eq!(sum("1", "inf"), None);
    /// ```
    #[must_use]
    pub fn sum(&self, other: &Addend) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.exact.zip(other.exact).and_then(|(a, b)| a.checked_add(b)) {
            Some(sum) => put_places(&mut bytes, sum),
            None => {
                let sum = self.inexact + other.inexact;
                if !sum.is_finite() {
                    return None;
                }
                put_plain_float(&mut bytes, sum);
            }
        }
        Some(bytes)
    }
}

/// A number in units of the last place, if it is decimal, has no exponent and is not too long.
fn exact(text: &[u8]) -> Option<i128> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let point = digits.iter().position(|byte| *byte == b'.').unwrap_or(digits.len());
    let (whole, places) = digits.split_at_checked(point)?;
    let places = places.get(1..).unwrap_or_default();
    if whole.len() > WHOLE_DIGITS_MAX || places.len() > PLACES {
        return None;
    }
    let zeros = std::iter::repeat_n(&b'0', PLACES - places.len());
    let mut value: i128 = 0;
    for byte in whole.iter().chain(places).chain(zeros) {
        let digit = byte.is_ascii_digit().then(|| i128::from(byte - b'0'))?;
        value = value * 10 + digit;
    }
    Some(if is_negative { -value } else { value })
}

/// Appends a number that is in units of the last place.
fn put_places(bytes: &mut Vec<u8>, value: i128) {
    let sign = if value < 0 { "-" } else { "" };
    let (whole, places) = (value.abs() / ONE, value.abs() % ONE);
    let text = format!("{sign}{whole}.{places:017}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert_eq, proptest};

    use super::Addend;

    fn sum(a: &str, b: &str) -> Option<String> {
        let (a, b) = (Addend::parse(a.as_bytes())?, Addend::parse(b.as_bytes())?);
        a.sum(&b).map(|sum| String::from_utf8_lossy(&sum).into_owned())
    }

    #[test]
    fn sums_are_as_redis_says_them() {
        let cases = [
            ("0.1", "0.2", "0.3"),
            ("10.50", "0.1", "10.6"),
            ("5.0e3", "2.0e2", "5200"),
            ("3.0", "0", "3"),
            ("-0", "0", "0"),
            ("-1.5", "1.5", "0"),
            ("-0.25", "0.125", "-0.125"),
            ("99999999999999999999", "1", "100000000000000000000"),
            ("0.00000000000000001", "0", "0.00000000000000001"),
            ("1e22", "0", "10000000000000000000000"),
            ("0x10", "1", "17"),
            ("+1", ".5", "1.5"),
            ("1.", "1", "2"),
        ];
        for (a, b, expected) in cases {
            assert_eq!(sum(a, b).as_deref(), Some(expected), "{a} + {b}");
        }
        for (a, b) in [("inf", "1"), ("1", "-inf"), ("inf", "-inf"), ("1.7e308", "1.7e308")] {
            assert!(Addend::parse(a.as_bytes()).is_some() && Addend::parse(b.as_bytes()).is_some());
            assert_eq!(sum(a, b), None, "{a} + {b}");
        }
        for text in ["", "nan", "1a", "--1", ".", "-", "1.2.3", " 1", "1 "] {
            assert_eq!(Addend::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn cents_are_added_exactly(a in -1_000_000_000_i64..1_000_000_000, b in -1_000_i64..1_000) {
            let cents = |value: i64| {
                let sign = if value < 0 { "-" } else { "" };
                format!("{sign}{}.{:02}", value.abs() / 100, value.abs() % 100)
            };
            let expected = cents(a + b);
            let expected = expected.trim_end_matches('0').trim_end_matches('.');
            let found = sum(&cents(a), &cents(b));
            prop_assert_eq!(found.as_deref(), Some(expected));
        }
    }
}
