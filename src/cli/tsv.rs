//! TSV: `KEY<TAB>VALUE` lines, with no escapes; what it cannot carry is refused.

use super::failure::{BadLine, Failure, show_key};
use super::format::Record;
use crate::Versioned;

/// The record of a line, which comes with its line end if it has one.
pub fn parse(line: &[u8]) -> Result<Record, BadLine> {
    let line = line.strip_suffix(b"\n").map_or(line, |l| l.strip_suffix(b"\r").unwrap_or(l));
    let mut parts = line.splitn(2, |byte| *byte == b'\t');
    match (parts.next(), parts.next()) {
        (Some(key), Some(value)) => {
            Ok(Record { key: key.to_vec(), value: value.to_vec(), expires_at_ms: None })
        }
        _ => Err(BadLine::NoTab),
    }
}

/// Adds the line of a record to `out`.
pub fn format(key: &[u8], found: &Versioned, out: &mut Vec<u8>) -> Result<(), Failure> {
    if found.expires_at_ms.is_some() {
        return Err(Failure::NotTsv { key: show_key(key), what: "expiry has no place there" });
    }
    format_lasting(key, &found.value, out)
}

fn format_lasting(key: &[u8], value: &[u8], out: &mut Vec<u8>) -> Result<(), Failure> {
    let what = if key.contains(&b'\t') {
        "key has a tab in it"
    } else if key.contains(&b'\n') {
        "key has a line feed in it"
    } else if value.contains(&b'\n') {
        "value has a line feed in it"
    } else if value.ends_with(b"\r") {
        "value ends with a carriage return"
    } else {
        out.extend_from_slice(key);
        out.push(b'\t');
        out.extend_from_slice(value);
        out.push(b'\n');
        return Ok(());
    };
    Err(Failure::NotTsv { key: show_key(key), what })
}

#[cfg(test)]
mod tests {
    use super::{format_lasting as format, parse};

    #[test]
    fn the_first_tab_ends_the_key_and_the_line_end_is_not_the_values() {
        let cases: [(&[u8], &[u8], &[u8]); 8] = [
            (b"k\tv\n", b"k", b"v"),
            (b"k\tv", b"k", b"v"),
            (b"k\tv\r\n", b"k", b"v"),
            (b"k\tv\r", b"k", b"v\r"),
            (b"k\tv\r\r\n", b"k", b"v\r"),
            (b"\t\n", b"", b""),
            (b"k\r\ta\tb \n", b"k\r", b"a\tb "),
            (b"\xff\t\xfe\r\n", b"\xff", b"\xfe"),
        ];
        for (line, key, value) in cases {
            let record = parse(line).unwrap();
            assert_eq!((&*record.key, &*record.value), (key, value), "{line:?}");
        }
        assert!(parse(b"").is_err());
        assert!(parse(b"\n").is_err());
        assert!(parse(b"no tab\r\n").is_err());
    }

    #[test]
    fn what_is_written_is_read_back_or_refused() {
        let parts: [&[u8]; 8] = [b"", b"a", b"\t", b"\n", b"\r", b"\r\n", b"a\rb", b"\xff\x00"];
        let mut carried = 0;
        for key in parts {
            for value in parts {
                let mut line = Vec::new();
                if format(key, value, &mut line).is_ok() {
                    let record = parse(&line).unwrap();
                    assert_eq!((&*record.key, &*record.value), (key, value));
                    carried += 1;
                }
            }
        }
        assert_eq!(carried, 5 * 5);
    }
}
