//! What a command told, as text.

use std::{path::Path, process::Output};

pub fn out(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).expect("UTF-8")
}

pub fn err(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).expect("UTF-8")
}

/// A path, as an argument.
pub fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
