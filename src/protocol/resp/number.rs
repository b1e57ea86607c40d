//! Numbers as Redis reads and writes them: strictly decimal, no sign but minus, no leading zero.

/// A decimal integer of 64 bits, in the one form that it has: no blanks, no plus, no leading zero,
/// no `-0`.
///
/// ```
/// use kvs::protocol::resp::number::integer;
/// assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
/// for other in ["", "01", "+1", "-0", " 1", "9223372036854775808"] {
///     assert_eq!(integer(other.as_bytes()), None);
/// }
/// ```
#[must_use]
#[inline]
pub fn integer(text: &[u8]) -> Option<i64> {
    let (is_negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() <= 19 => {}
        _ => return None,
    }
    let mut value: u64 = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // 19 digits fit into 64 bits.
        value = value * 10 + u64::from(digit);
    }
    match is_negative {
        true => 0_i64.checked_sub_unsigned(value),
        false => i64::try_from(value).ok(),
    }
}

/// Appends an integer in decimal.
#[inline]
pub(crate) fn put_integer(bytes: &mut Vec<u8>, value: i64) {
    if (0..10).contains(&value) {
        bytes.push(digit(value.unsigned_abs()));
        return;
    }
    let mut digits = [0; 20];
    let mut rest = value.unsigned_abs();
    let mut len = 0;
    for place in digits.iter_mut().rev() {
        *place = digit(rest);
        rest /= 10;
        len += 1;
        if rest == 0 {
            break;
        }
    }
    if value < 0 {
        bytes.push(b'-');
    }
    bytes.extend_from_slice(digits.get(digits.len() - len..).unwrap_or_default());
}

/// The last digit of a number.
#[inline]
fn digit(value: u64) -> u8 {
    b"0123456789".get(usize::try_from(value % 10).unwrap_or(0)).copied().unwrap_or(b'0')
}

/// An integer in decimal.
pub(crate) fn integer_bytes(value: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(20);
    put_integer(&mut bytes, value);
    bytes
}

/// A floating-point number in the forms that C reads (also hexadecimal, `inf` and `infinity`), but
/// without blanks around it; none for what is no number, `nan` included. It may be infinite only
/// if it says so: what is too large for 64 bits is none.
///
/// ```
/// use kvs::protocol::resp::number::float;
/// assert_eq!(float(b"3.0e3"), Some(3000.0));
/// assert_eq!(float(b"0x10"), Some(16.0));
/// assert_eq!(float(b"-inf"), Some(f64::NEG_INFINITY));
/// for other in ["", " 1", "1 ", "nan", "1e", "1e400"] {
///     assert_eq!(float(other.as_bytes()), None);
/// }
/// ```
#[must_use]
pub fn float(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?;
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case("0x")) {
        let value = hexadecimal(unsigned.get(2..)?)?;
        return Some(if text.starts_with('-') { -value } else { value });
    }
    let names_infinity = ["inf", "infinity"].iter().any(|name| unsigned.eq_ignore_ascii_case(name));
    let value: f64 = text.parse().ok()?;
    (value.is_finite() || names_infinity).then_some(value)
}

/// Hexadecimal digits with a point and, behind a `p`, a power of two.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = match text.split_once(['p', 'P']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let places = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let value = value * 2.0_f64.powi(exponent.checked_sub(places)?);
    value.is_finite().then_some(value)
}

/// Appends a finite number as Redis does in `INCRBYFLOAT`: never with an exponent, without zeros
/// at the end, zero without a sign. The digits are the fewest that are read as the same number.
pub(crate) fn put_plain_float(bytes: &mut Vec<u8>, value: f64) {
    let value = if value == 0.0 { 0.0 } else { value };
    // Up to 17 places behind the point, as Redis has them, and not one more.
    let mut text = value.to_string();
    if text.split_once('.').is_some_and(|(_, places)| places.len() > 17) {
        text = format!("{value:.17}");
        let len = text.trim_end_matches('0').trim_end_matches('.').len();
        text.truncate(len);
    }
    if text == "-0" {
        text.remove(0);
    }
    bytes.extend_from_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::{float, integer, integer_bytes, put_plain_float};

    #[test]
    fn only_the_one_form_of_an_integer_is_one() {
        for text in ["0", "7", "-1", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(integer(text.as_bytes()), text.parse().ok(), "{text}");
        }
        let others = [
            "",
            "-",
            "00",
            "01",
            "-01",
            "+1",
            "-0",
            " 1",
            "1 ",
            "1a",
            "0x1",
            "1.0",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551617",
            "99999999999999999999",
        ];
        for text in others {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn floats_are_written_without_exponents() {
        let cases = [
            (10.6, "10.6"),
            (5000.0, "5000"),
            (-0.0, "0"),
            (1e22, "10000000000000000000000"),
            (1e-5, "0.00001"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1e-30, "0"),
            (-1e-30, "0"),
            (-1.5e-16, "-0.00000000000000015"),
        ];
        for (value, expected) in cases {
            let mut bytes = Vec::new();
            put_plain_float(&mut bytes, value);
            assert_eq!(String::from_utf8_lossy(&bytes), expected);
        }
    }

    #[test]
    fn floats_are_read_as_c_reads_them() {
        for (text, expected) in [("1.", 1.0), (".5", 0.5), ("+1", 1.0), ("-0x1.8p1", -3.0)] {
            assert_eq!(float(text.as_bytes()), Some(expected), "{text}");
        }
        for text in ["-", ".", "0x", "1 ", "\t1", "nan", "-nan", "1e", "abc", "1,5", "\u{661}"] {
            assert_eq!(float(text.as_bytes()), None, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_integer_is_read_as_it_was_written(value in any::<i64>()) {
            prop_assert_eq!(integer_bytes(value), value.to_string().into_bytes());
            prop_assert_eq!(integer(&integer_bytes(value)), Some(value));
        }
    }
}
