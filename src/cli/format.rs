//! How records are written in a file: told by its name, or by `--format`.

use std::path::Path;

use clap::ValueEnum;

use super::failure::{Failure, name_of};

/// The form of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A line of key, tab and value for each.
    #[value(help = "KEY<TAB>VALUE lines")]
    Tsv,
    /// JSON objects, one a line
    Jsonl,
}

/// The compression around the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// None.
    Plain,
    /// gzip: `.gz`.
    Gz,
    /// Zstandard: `.zst`.
    Zst,
}

/// One record.
pub struct Record {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// When it expires, in milliseconds since 1970-01-01 UTC; none: never.
    pub expires_at_ms: Option<u64>,
}

/// What `import --help` and `export --help` say about the formats.
pub const FORMATS_HELP: &str = "\
Formats:
  tsv    KEY<TAB>VALUE, a record a line. The first tab ends the key; the rest of the line is the
         value, further tabs included. Nothing is escaped and nothing is trimmed. A line ends with
         LF or with CR LF, neither of which belongs to the value. So TSV cannot carry a key with a
         tab or a line feed in it, nor a value with a line feed in it or a carriage return at its
         end, nor an expiry: export refuses such a record, and says its key.
  jsonl  a JSON object a line: {\"key\":\"k\",\"value\":\"v\"}. Bytes that are not UTF-8 stand in
         base64 (the standard alphabet, padded) in \"key_base64\" and \"value_base64\" instead.
         A key that expires has \"expires_at_ms\", in milliseconds since 1970-01-01 UTC. It can
         carry every record.
The name tells the format (.tsv, .jsonl or .ndjson) and the compression (.gz or .zst after that);
--format goes before the name. Standard input and output are jsonl unless --format says otherwise,
and never compressed.";

/// The format of the file at `path` (`None`: standard input or output).
pub fn format_of(path: Option<&Path>, asked: Option<Format>) -> Result<Format, Failure> {
    let Some(path) = path else {
        return Ok(asked.unwrap_or(Format::Jsonl));
    };
    let told = || {
        let bare = match compression_of(path) {
            Compression::Plain => path.to_owned(),
            Compression::Gz | Compression::Zst => path.with_extension(""),
        };
        match extension(&bare)?.as_str() {
            "tsv" => Some(Format::Tsv),
            "jsonl" | "ndjson" => Some(Format::Jsonl),
            _ => None,
        }
    };
    asked.or_else(told).ok_or_else(|| Failure::UnknownFormat { name: name_of(path) })
}

/// The compression that the name tells.
pub fn compression_of(path: &Path) -> Compression {
    match extension(path).as_deref() {
        Some("gz") => Compression::Gz,
        Some("zst") => Compression::Zst,
        _ => Compression::Plain,
    }
}

fn extension(path: &Path) -> Option<String> {
    Some(path.extension()?.to_str()?.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::{Compression, Format, compression_of, format_of};
    use std::path::Path;

    #[test]
    fn the_name_tells_format_and_compression() {
        let cases = [
            ("a.tsv", Some(Format::Tsv), Compression::Plain),
            ("a.TSV.GZ", Some(Format::Tsv), Compression::Gz),
            ("a.b.ndjson.zst", Some(Format::Jsonl), Compression::Zst),
            ("dir.tsv/a", None, Compression::Plain),
            ("a.gz", None, Compression::Gz),
            ("tsv", None, Compression::Plain),
        ];
        for (name, format, compression) in cases {
            let path = Path::new(name);
            assert_eq!(format_of(Some(path), None).ok(), format, "{name}");
            assert_eq!(compression_of(path), compression, "{name}");
            let asked = format_of(Some(path), Some(Format::Tsv));
            assert_eq!(asked.ok(), Some(Format::Tsv), "{name}");
        }
    }
}
