//! The password: from a file or from the environment.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use kvs::cli::failure::{Failure, name_of};

const VARIABLE: &str = "KVS_PASSWORD";

/// The password in the file, or else that of the environment; none if there is neither, and an
/// empty variable counts as none. A line end at its end does not belong to it.
pub fn find(file: Option<&Path>) -> Result<Option<Vec<u8>>, Failure> {
    let variable = std::env::var_os(VARIABLE).filter(|variable| !variable.is_empty());
    let (place, mut password) = match (file, variable) {
        (Some(path), _) => {
            let read = fs::read(path).map_err(|error| Failure::io("read", path, error))?;
            (name_of(path), read)
        }
        (None, Some(variable)) => (VARIABLE.to_owned(), OsString::into_vec(variable)),
        (None, None) => return Ok(None),
    };
    if password.ends_with(b"\n") {
        password.pop();
    }
    if password.ends_with(b"\r") {
        password.pop();
    }
    if password.is_empty() {
        return Err(Failure::Password { place, reason: "is empty" });
    }
    Ok(Some(password))
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn a_line_end_is_not_the_passwords() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("password");
        for (written, read) in [("a b\n", "a b"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n")] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(find(Some(&file)).unwrap().unwrap(), read.as_bytes());
        }
        std::fs::write(&file, "\n").unwrap();
        assert!(find(Some(&file)).unwrap_err().to_string().ends_with("is empty"));
        assert!(find(Some(&dir.path().join("none"))).is_err());
    }
}
