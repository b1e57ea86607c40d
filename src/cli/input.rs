//! `Input`: the lines of a file or of standard input, decompressed, with their numbers.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;

use super::failure::{BadLine, Failure, name_of};
use super::format::{Compression, Format, compression_of};
use super::progress::Bar;
use super::zstd::ZstdReader;
use crate::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

const BUFFER_BYTES: usize = 256 << 10;

/// The longest line that is read, in bytes with its end: that of the largest record.
const fn line_bytes_max(format: Format) -> u64 {
    let (key, value) = (KEY_BYTES_MAX as u64, VALUE_BYTES_MAX as u64);
    match format {
        // KEY<TAB>VALUE<CR><LF>
        Format::Tsv => key + 1 + value + 2,
        // Each byte escaped as \u0000, which is longer than base64, and the names around them.
        Format::Jsonl => 6 * (key + value) + 64,
    }
}

/// An open file or standard input.
pub struct Input {
    name: String,
    compression: Compression,
    reader: Box<dyn BufRead>,
    /// How much of the file was read, in bytes before decompression.
    read_bytes: Rc<Cell<u64>>,
    file_bytes: Option<u64>,
    line_bytes_max: u64,
    line_number: u64,
}

impl Input {
    /// Opens the file at `path` (`None`: standard input) to read lines of that format. A
    /// compressed file is first read to its end, so that nothing is imported from one that is
    /// damaged or cut short.
    pub fn open(path: Option<&Path>, format: Format) -> Result<Input, Failure> {
        let limit = line_bytes_max(format);
        let Some(path) = path else {
            let (name, stdin) = ("standard input".to_owned(), Box::new(io::stdin().lock()));
            return Ok(Input::new(name, Compression::Plain, stdin, None, limit));
        };
        let input = Input::open_file(path, limit)?;
        if input.compression == Compression::Plain || input.file_bytes.is_none() {
            return Ok(input);
        }
        input.check()?;
        Input::open_file(path, limit)
    }

    fn open_file(path: &Path, line_bytes_max: u64) -> Result<Input, Failure> {
        let (file, metadata) = File::open(path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .map_err(|error| Failure::io("read", path, error))?;
        if metadata.is_dir() {
            return Err(Failure::io("read", path, io::ErrorKind::IsADirectory.into()));
        }
        let file_bytes = metadata.is_file().then_some(metadata.len());
        let (name, source) = (name_of(path), Box::new(file));
        Ok(Input::new(name, compression_of(path), source, file_bytes, line_bytes_max))
    }

    fn new(
        name: String,
        compression: Compression,
        source: Box<dyn Read>,
        file_bytes: Option<u64>,
        line_bytes_max: u64,
    ) -> Input {
        let read_bytes = Rc::new(Cell::new(0));
        let counted = Counted { source, read_bytes: Rc::clone(&read_bytes) };
        let raw = BufReader::with_capacity(BUFFER_BYTES, counted);
        let reader: Box<dyn BufRead> = match compression {
            Compression::Plain => Box::new(raw),
            Compression::Gz => {
                Box::new(BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(raw)))
            }
            Compression::Zst => {
                Box::new(BufReader::with_capacity(BUFFER_BYTES, ZstdReader::new(raw)))
            }
        };
        let line_number = 0;
        Input { name, compression, reader, read_bytes, file_bytes, line_bytes_max, line_number }
    }

    /// Reads a compressed file to its end, and compares its checksums.
    fn check(mut self) -> Result<(), Failure> {
        let bar = Bar::bytes("checking", self.file_bytes);
        loop {
            match self.reader.fill_buf().map(<[u8]>::len) {
                Ok(0) => return Ok(()),
                Ok(count) => self.reader.consume(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failure(error)),
            }
            bar.set(self.read_bytes.get());
        }
    }

    /// Reads the next line into `line`, with its line end; false at the end of the input.
    pub fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, Failure> {
        line.clear();
        let limit = self.line_bytes_max;
        let mut limited = (&mut self.reader).take(limit);
        let count = match limited.read_until(b'\n', line) {
            Ok(count) => count as u64,
            Err(error) => return Err(self.failure(error)),
        };
        self.line_number += u64::from(count > 0);
        if count == limit && !line.ends_with(b"\n") {
            return Err(self.bad_line(BadLine::TooLong { limit }));
        }
        Ok(count > 0)
    }

    /// What is wrong with the line that was read last.
    pub fn bad_line(&self, reason: BadLine) -> Failure {
        Failure::Line { name: self.name.clone(), line: self.line_number, reason }
    }

    /// How much of the file was read, in bytes before decompression.
    pub fn read_bytes(&self) -> u64 {
        self.read_bytes.get()
    }

    /// The length of the file in bytes, if it is one.
    pub fn file_bytes(&self) -> Option<u64> {
        self.file_bytes
    }

    fn failure(&self, source: io::Error) -> Failure {
        let (name, offset) = (self.name.clone(), self.read_bytes.get());
        let compressed = self.compression != Compression::Plain;
        match source.kind() {
            io::ErrorKind::UnexpectedEof if compressed => Failure::CutShort { name, offset },
            // An error of the operating system has a number, one of a decoder has none.
            _ if compressed && source.raw_os_error().is_none() => {
                Failure::BadCompression { name, offset, source }
            }
            _ => Failure::Io { action: "read", name, source },
        }
    }
}

/// Counts what is read from a file.
struct Counted {
    source: Box<dyn Read>,
    read_bytes: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.read_bytes.set(self.read_bytes.get() + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Read};

    use super::{Compression, Format, Input, KEY_BYTES_MAX, VALUE_BYTES_MAX, line_bytes_max};

    #[test]
    fn a_line_without_an_end_is_read_up_to_the_limit_and_named() {
        let endless = (&b"short\n"[..]).chain(io::repeat(0));
        let name = "zeros".to_owned();
        let mut input = Input::new(name, Compression::Plain, Box::new(endless), None, 1000);
        let mut line = Vec::new();
        assert!(input.next_line(&mut line).unwrap());
        assert_eq!(line, b"short\n");
        let failure = input.next_line(&mut line).unwrap_err();
        assert_eq!(failure.to_string(), "zeros:2: the line is longer than 1000 bytes");
        assert_eq!(line.len(), 1000);
    }

    #[test]
    fn a_line_as_long_as_the_limit_is_read() {
        for text in [&b"12345678\r\n"[..], b"123456789"] {
            let name = "text".to_owned();
            let mut input = Input::new(name, Compression::Plain, Box::new(text), None, 10);
            let mut line = Vec::new();
            assert!(input.next_line(&mut line).unwrap());
            assert_eq!(line, text);
        }
    }

    #[test]
    fn the_largest_record_fits_its_line_in_each_format() {
        let (key, value) = (KEY_BYTES_MAX as u64, VALUE_BYTES_MAX as u64);
        let around = |text: &str| text.len() as u64;
        assert_eq!(line_bytes_max(Format::Tsv), key + value + around("\t\r\n"));
        let limit = line_bytes_max(Format::Jsonl);
        let escaped = around("\\u0000") * (key + value);
        assert!(limit >= escaped + around("{\"key\": \"\", \"value\": \"\"}\r\n"));
        let base64 = 4 * (key.div_ceil(3) + value.div_ceil(3));
        assert!(limit >= base64 + around("{\"key_base64\": \"\", \"value_base64\": \"\"}\r\n"));
    }
}
