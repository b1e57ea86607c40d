//! `Output`: standard output, or a file that appears under its name only when it is whole.

use std::fs::{self, File};
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::{Path, PathBuf};

use flate2::write::GzEncoder;

use crate::failure::{Failure, name_of, parent_of};
use crate::format::{Compression, compression_of};

const BUFFER_BYTES: usize = 256 << 10;
/// The name that standard output has in messages.
pub const STDOUT: &str = "standard output";

/// Prints `bytes` on standard output.
pub fn print(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(stdout_failure)
}

fn stdout_failure(source: io::Error) -> Failure {
    match source.kind() {
        io::ErrorKind::BrokenPipe => Failure::OutputClosed,
        _ => Failure::Io { action: "write to", name: STDOUT.to_owned(), source },
    }
}

/// Where an export goes.
pub struct Output {
    name: String,
    writer: Writer,
    /// Set while there is a temporary file that waits for its name.
    temporary: Option<Temporary>,
}

enum Writer {
    Plain(BufWriter<Sink>),
    Gz(GzEncoder<BufWriter<Sink>>),
}

enum Sink {
    Stdout(StdoutLock<'static>),
    File(File),
}

struct Temporary {
    path: PathBuf,
    target: PathBuf,
}

impl Output {
    /// Begins to write the file at `path` (`None`: standard output). What has that name stays as
    /// it is until [`Output::finish`].
    pub fn create(path: Option<&Path>) -> Result<Output, Failure> {
        let Some(path) = path else {
            let sink = Sink::Stdout(io::stdout().lock());
            return Ok(Output::new(STDOUT.to_owned(), Compression::Plain, sink, None));
        };
        let compression = compression_of(path);
        if compression == Compression::Zst {
            return Err(Failure::CannotCompress { name: name_of(path) });
        }
        // A link keeps pointing at the file; a device or a pipe is written to, not replaced.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let failure = |error| Failure::io("write", path, error);
        let found = fs::metadata(&target);
        let (file, temporary) = match &found {
            Ok(found) if found.is_dir() => {
                return Err(failure(io::ErrorKind::IsADirectory.into()));
            }
            Ok(found) if !found.is_file() => {
                (File::options().write(true).open(&target).map_err(failure)?, None)
            }
            _ => {
                let temporary = Temporary { path: temporary_name(&target), target };
                (File::create(&temporary.path).map_err(failure)?, Some(temporary))
            }
        };
        // From here on, what goes wrong takes the temporary file away.
        let output = Output::new(name_of(path), compression, Sink::File(file), temporary);
        if let (Ok(found), Some(_), Sink::File(file)) = (found, &output.temporary, output.sink()) {
            file.set_permissions(found.permissions()).map_err(failure)?;
        }
        Ok(output)
    }

    fn new(
        name: String,
        compression: Compression,
        sink: Sink,
        temporary: Option<Temporary>,
    ) -> Output {
        let buffered = BufWriter::with_capacity(BUFFER_BYTES, sink);
        let writer = match compression {
            Compression::Gz => Writer::Gz(GzEncoder::new(buffered, flate2::Compression::default())),
            Compression::Plain | Compression::Zst => Writer::Plain(buffered),
        };
        Output { name, writer, temporary }
    }

    /// Writes `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let written = match &mut self.writer {
            Writer::Plain(writer) => writer.write_all(bytes),
            Writer::Gz(writer) => writer.write_all(bytes),
        };
        written.map_err(|source| self.failure(source))
    }

    /// Hands on what was written so far, for those who read along.
    pub fn flush(&mut self) -> Result<(), Failure> {
        let flushed = match &mut self.writer {
            Writer::Plain(writer) => writer.flush(),
            Writer::Gz(writer) => writer.flush(),
        };
        flushed.map_err(|source| self.failure(source))
    }

    /// Makes all that was written durable, and only then gives the file its name.
    pub fn finish(mut self) -> Result<(), Failure> {
        let flushed = match &mut self.writer {
            Writer::Plain(writer) => writer.flush(),
            Writer::Gz(writer) => writer.try_finish().and_then(|()| writer.get_mut().flush()),
        };
        flushed.and_then(|()| self.publish()).map_err(|source| self.failure(source))
    }

    fn publish(&mut self) -> io::Result<()> {
        let Some(temporary) = &self.temporary else {
            return Ok(());
        };
        if let Sink::File(file) = self.sink() {
            file.sync_all()?;
        }
        fs::rename(&temporary.path, &temporary.target)?;
        let directory = parent_of(&temporary.target);
        self.temporary = None;
        File::open(directory)?.sync_all()
    }

    fn sink(&self) -> &Sink {
        match &self.writer {
            Writer::Plain(writer) => writer.get_ref(),
            Writer::Gz(writer) => writer.get_ref().get_ref(),
        }
    }

    /// A pipe that was named and is not read to its end is an error like any other: what was
    /// asked for is not there. Standard output may be left early.
    fn failure(&self, source: io::Error) -> Failure {
        match (self.sink(), source.kind()) {
            (Sink::Stdout(_), io::ErrorKind::BrokenPipe) => Failure::OutputClosed,
            _ => Failure::Io { action: "write", name: self.name.clone(), source },
        }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The failure that led here is the one to report.
            let _ = fs::remove_file(&temporary.path);
        }
    }
}

/// A name beside the target, so that a rename is enough, of this process alone.
fn temporary_name(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", std::process::id()));
    target.with_file_name(name)
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Sink::Stdout(stdout) => stdout.write(bytes),
            Sink::File(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Sink::Stdout(stdout) => stdout.flush(),
            Sink::File(file) => file.flush(),
        }
    }
}
