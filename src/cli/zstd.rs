//! Reading a `.zst` file: all of its frames, each with its checksum compared.

use std::error::Error;
use std::io::{self, BufRead, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest window that is decoded, in bytes: what `zstd --long` writes.
const WINDOW_BYTES_MAX: u64 = 128 << 20;

/// The contents of the Zstandard frames in a stream. An empty stream is an error.
pub struct ZstdReader<R> {
    source: R,
    decoder: FrameDecoder,
    state: State,
}

#[derive(PartialEq, Eq)]
enum State {
    BeforeFirst,
    InFrame,
    BetweenFrames,
}

impl<R: BufRead> ZstdReader<R> {
    /// Reads from `source`; nothing is read yet.
    pub fn new(source: R) -> ZstdReader<R> {
        let mut decoder = FrameDecoder::new();
        decoder.set_max_window_size(WINDOW_BYTES_MAX);
        ZstdReader { source, decoder, state: State::BeforeFirst }
    }

    /// Goes to the contents of the next frame; false at the end of the stream.
    fn next_frame(&mut self) -> io::Result<bool> {
        loop {
            if self.state == State::BetweenFrames && self.source.fill_buf()?.is_empty() {
                return Ok(false);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => {
                    self.state = State::InFrame;
                    return Ok(true);
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let length = u64::from(length);
                    if io::copy(&mut (&mut self.source).take(length), &mut io::sink())? < length {
                        return Err(io::ErrorKind::UnexpectedEof.into());
                    }
                    self.state = State::BetweenFrames;
                }
                Err(error) => return Err(to_io(error)),
            }
        }
    }

    fn check_checksum(&self) -> io::Result<()> {
        match self.decoder.get_checksum_from_data() {
            Some(stated) if self.decoder.get_calculated_checksum() != Some(stated) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "the checksum does not match"))
            }
            _ => Ok(()),
        }
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.state != State::InFrame && !self.next_frame()? {
                return Ok(0);
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(to_io)?;
            }
            let count = self.decoder.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.check_checksum()?;
            self.state = State::BetweenFrames;
        }
    }
}

/// The decoder's error, with a stream that ended too early told apart from a damaged one.
fn to_io(error: FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(current) = cause {
        if let Some(found) = current.downcast_ref::<io::Error>() {
            return io::Error::new(found.kind(), error.to_string());
        }
        cause = current.source();
    }
    io::Error::new(io::ErrorKind::InvalidData, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::ZstdReader;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::{ErrorKind, Read, Result};

    fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        ZstdReader::new(bytes).read_to_end(&mut out).map(|_| out)
    }

    #[test]
    fn all_frames_are_read_and_skippable_ones_skipped() {
        let one = compress_to_vec(&b"one"[..], CompressionLevel::Fastest);
        let skipped = [&0x184D_2A50_u32.to_le_bytes()[..], &2_u32.to_le_bytes(), b"xx"].concat();
        let two = compress_to_vec(&b"two"[..], CompressionLevel::Uncompressed);
        let file = [&one[..], &skipped, &two].concat();
        assert_eq!(decode(&file).unwrap(), b"onetwo");
    }

    #[test]
    fn every_cut_is_an_error() {
        let text: Vec<u8> =
            (0..5000_u32).flat_map(|i| format!("{i}\t{i}\n").into_bytes()).collect();
        let file = compress_to_vec(&text[..], CompressionLevel::Fastest);
        assert_eq!(decode(&file).unwrap(), text);
        for cut in (0..file.len()).step_by(97).chain([1, 4, file.len() - 1, file.len() - 4]) {
            assert_eq!(decode(&file[..cut]).unwrap_err().kind(), ErrorKind::UnexpectedEof, "{cut}");
        }
    }

    #[test]
    fn a_flipped_bit_is_never_other_contents() {
        let text: Vec<u8> = (0..500_u32).flat_map(|i| format!("{i}\t{i}\n").into_bytes()).collect();
        let file = compress_to_vec(&text[..], CompressionLevel::Fastest);
        for at in 0..file.len() {
            let mut bad = file.clone();
            bad[at] ^= 1 << (at % 8);
            if let Ok(read) = decode(&bad) {
                assert!(read == text, "byte {at}");
            }
        }
    }
}
