//! `Input`: the lines of a file or of standard input, decompressed, with their numbers.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use kvs::{KEY_BYTES_MAX, VALUE_BYTES_MAX};

use crate::failure::{BadLine, Failure, name_of};
use crate::format::{Compression, compression_of};
use crate::progress::Bar;
use crate::zstd::ZstdReader;

const BUFFER_BYTES: usize = 256 << 10;

/// The longest line that is read, in bytes: the largest record, each byte of it escaped.
const LINE_BYTES_MAX: u64 = 6 * (KEY_BYTES_MAX as u64 + VALUE_BYTES_MAX as u64) + 64;

/// An open file or standard input.
pub struct Input {
    name: String,
    compression: Compression,
    reader: Box<dyn BufRead>,
    /// How much of the file was read, in bytes before decompression.
    read_bytes: Rc<Cell<u64>>,
    file_bytes: Option<u64>,
    line_number: u64,
}

impl Input {
    /// Opens the file at `path` (`None`: standard input). A compressed file is first read to its
    /// end, so that nothing is imported from one that is damaged or cut short.
    pub fn open(path: Option<&Path>) -> Result<Input, Failure> {
        let Some(path) = path else {
            let stdin = Box::new(io::stdin().lock());
            return Ok(Input::new("standard input".to_owned(), Compression::Plain, stdin, None));
        };
        let input = Input::open_file(path)?;
        if input.compression == Compression::Plain || input.file_bytes.is_none() {
            return Ok(input);
        }
        input.check()?;
        Input::open_file(path)
    }

    fn open_file(path: &Path) -> Result<Input, Failure> {
        let (file, metadata) = File::open(path)
            .and_then(|file| file.metadata().map(|metadata| (file, metadata)))
            .map_err(|error| Failure::io("read", path, error))?;
        if metadata.is_dir() {
            return Err(Failure::io("read", path, io::ErrorKind::IsADirectory.into()));
        }
        let file_bytes = metadata.is_file().then_some(metadata.len());
        Ok(Input::new(name_of(path), compression_of(path), Box::new(file), file_bytes))
    }

    fn new(
        name: String,
        compression: Compression,
        source: Box<dyn Read>,
        file_bytes: Option<u64>,
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
        Input { name, compression, reader, read_bytes, file_bytes, line_number: 0 }
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
        let mut limited = (&mut self.reader).take(LINE_BYTES_MAX);
        let count = match limited.read_until(b'\n', line) {
            Ok(count) => count as u64,
            Err(error) => return Err(self.failure(error)),
        };
        self.line_number += u64::from(count > 0);
        if count == LINE_BYTES_MAX && !line.ends_with(b"\n") {
            return Err(self.bad_line(BadLine::TooLong { limit: LINE_BYTES_MAX }));
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
