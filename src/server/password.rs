//! The password that clients must give: where it is from, and comparing it.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use subtle::{ConstantTimeEq, ConstantTimeLess};
use tracing::warn;

/// The longest password in bytes.
const BYTES_MAX: usize = 512;

/// A password, which it shows to nobody.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use kvs::server::Password;
/// let file = dir.path().join("password");
/// std::fs::write(&file, "hush\n")?;
/// let password = Password::load(Some(&file), None)?;
/// assert!(password.is_some_and(|password| password.matches(b"hush")));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Password {
    padded: [u8; BYTES_MAX],
    len: u64,
}

/// Why there is no password.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// Its file cannot be read.
    #[error("cannot read the password file {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system answered.
        source: Arc<io::Error>,
    },
    /// It is empty, which would let everybody in or nobody.
    #[error("the password in {place} is empty")]
    Empty {
        /// The file, or the variable.
        place: String,
    },
    /// It is too long.
    #[error("the password in {place} has {bytes} bytes; the limit is {BYTES_MAX}")]
    TooLong {
        /// The file, or the variable.
        place: String,
        /// Its length in bytes.
        bytes: usize,
    },
    /// There are two of them.
    #[error("there is a password in {}, and another in the variable KVS_PASSWORD", path.display())]
    Twice {
        /// The file.
        path: PathBuf,
    },
}

impl Password {
    /// Reads the password from a file, or takes that of the variable `KVS_PASSWORD`, without the
    /// line end behind it. None: there is neither; an empty variable counts as not set. A file that
    /// everybody can read is warned of in the log.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub fn load(
        file: Option<&Path>,
        variable: Option<OsString>,
    ) -> Result<Option<Password>, PasswordError> {
        match (file, variable.filter(|variable| !variable.is_empty())) {
            (None, None) => Ok(None),
            (Some(path), Some(_)) => Err(PasswordError::Twice { path: path.to_owned() }),
            (None, Some(value)) => {
                let line = without_line_end(value.as_encoded_bytes());
                Password::new(line, "the variable KVS_PASSWORD").map(Some)
            }
            (Some(path), None) => {
                let (bytes, mode) = read(path).map_err(|error| PasswordError::Io {
                    path: path.to_owned(),
                    source: Arc::new(error),
                })?;
                if is_open_to_all(mode) {
                    // Not an error: secrets are often mounted that way into a container.
                    warn!("everybody can read the password file {}: chmod 600", path.display());
                }
                Password::new(without_line_end(&bytes), &path.display().to_string()).map(Some)
            }
        }
    }

    /// A password, of which `place` is where it was found.
    fn new(bytes: &[u8], place: &str) -> Result<Password, PasswordError> {
        let place = || place.to_owned();
        if bytes.is_empty() {
            return Err(PasswordError::Empty { place: place() });
        }
        let padded = padded(bytes)
            .ok_or_else(|| PasswordError::TooLong { place: place(), bytes: bytes.len() })?;
        Ok(Password { padded, len: bytes.len() as u64 })
    }

    /// Whether this is the password. How long that takes says nothing about the password, nor
    /// about how much of it is right.
    ///
    /// ```
    /// # use kvs::server::Password;
    /// let password = Password::load(None, Some("hush".into()))?.unwrap();
    /// assert!(password.matches(b"hush") && !password.matches(b"hus"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        let len = given.len() as u64;
        let cut = given.get(..BYTES_MAX).unwrap_or(given);
        let same_bytes = padded(cut).unwrap_or([0; BYTES_MAX]).ct_eq(&self.padded);
        let fits = len.ct_lt(&(BYTES_MAX as u64 + 1));
        (same_bytes & self.len.ct_eq(&len) & fits).into()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password")
    }
}

/// With zeros behind it; none if it is too long.
fn padded(bytes: &[u8]) -> Option<[u8; BYTES_MAX]> {
    let mut padded = [0; BYTES_MAX];
    padded.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(padded)
}

fn read(path: &Path) -> io::Result<(Vec<u8>, u32)> {
    let mode = fs::metadata(path)?.permissions().mode();
    Ok((fs::read(path)?, mode))
}

fn without_line_end(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn is_open_to_all(mode: u32) -> bool {
    mode & 0o004 != 0
}

#[cfg(test)]
mod tests {
    use super::{BYTES_MAX, Password, PasswordError, is_open_to_all};

    fn password(text: &str) -> Password {
        Password::new(text.as_bytes(), "a test").unwrap()
    }

    #[test]
    fn only_the_password_matches() {
        let hush = password("hush");
        assert!(hush.matches(b"hush"));
        for wrong in ["", "h", "hus", "hush\0", "hushh", "Hush", "\0", "hsuh"] {
            assert!(!hush.matches(wrong.as_bytes()), "{wrong:?}");
        }
        let longest = "x".repeat(BYTES_MAX);
        assert!(password(&longest).matches(longest.as_bytes()));
        assert!(!password(&longest).matches(format!("{longest}x").as_bytes()));
        assert!(!hush.matches(&vec![b'h'; 1 << 20]));
    }

    #[test]
    fn it_is_read_without_its_line_end_and_from_one_place() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("password");
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Password::load(Some(&path), None)
        };
        for text in ["a b ", "a b \n", "a b \r\n"] {
            assert!(load(text).unwrap().unwrap().matches(b"a b "), "{text:?}");
        }
        assert!(load("a\n\n").unwrap().unwrap().matches(b"a\n"));
        assert!(matches!(load("\n"), Err(PasswordError::Empty { .. })));
        assert!(matches!(load(&"x".repeat(513)), Err(PasswordError::TooLong { .. })));
        for variable in ["v", "v\n", "v\r\n"] {
            assert!(Password::load(None, Some(variable.into())).unwrap().unwrap().matches(b"v"));
        }
        assert!(Password::load(None, Some("".into())).unwrap().is_none());
        load("f").unwrap();
        let file = Password::load(Some(&path), Some("".into())).unwrap().unwrap();
        assert!(file.matches(b"f"));
        let empty = Password::load(None, Some("\n".into())).unwrap_err().to_string();
        assert_eq!(empty, "the password in the variable KVS_PASSWORD is empty");
        let twice = Password::load(Some(&path), Some("v".into()));
        assert!(matches!(twice, Err(PasswordError::Twice { .. })));
        assert!(Password::load(None, None).unwrap().is_none());
        let missing = Password::load(Some(&dir.path().join("none")), None).unwrap_err();
        assert!(missing.to_string().starts_with("cannot read the password file "));
    }

    #[test]
    fn it_is_not_shown_and_who_can_read_it_is_known() {
        assert_eq!(format!("{:?}", password("hush")), "Password");
        assert!(is_open_to_all(0o100_644) && !is_open_to_all(0o100_640));
    }
}
