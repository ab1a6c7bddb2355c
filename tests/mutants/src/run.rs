//! A test program runs some of its tests, and ends, or is ended with all that it started.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A mutant that asks for all memory there is shall not get it: in kB.
const MEMORY: u64 = 6_000_000;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    Green,
    /// With the names of those that failed; without a name where the program died of it.
    Red(Vec<String>),
    TooLate,
}

pub(crate) fn run(
    root: &Path,
    program: &Path,
    tests: &[&String],
    with: &[(&str, &OsStr)],
    limit: Duration,
) -> io::Result<Ended> {
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("ulimit -v {MEMORY}; exec \"$0\" \"$@\"")).arg(program);
    command.args(["--exact", "--test-threads=1"]).args(tests).envs(with.iter().copied());
    command.current_dir(root).env("CARGO_MANIFEST_DIR", root).env("RUST_BACKTRACE", "0");
    // A group of its own, so that what it started ends with it.
    let mut child =
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let group = child.id();
    let mut output = child.stdout.take().ok_or_else(|| io::Error::other("no output"))?;
    let (tell, told) = mpsc::channel();
    let reader = thread::spawn(move || {
        let mut text = Vec::new();
        let _ = output.read_to_end(&mut text);
        let _ = tell.send(());
        text
    });
    let late = told.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
    // Also where it ended by itself: a child that it left behind would keep the output open, or the machine busy.
    let _ = Command::new("kill").args(["-9", "--", &format!("-{group}")]).stderr(Stdio::null()).status();
    let status = child.wait()?;
    let text = reader.join().map_err(|_| io::Error::other("the output could not be read"))?;
    if late {
        return Ok(Ended::TooLate);
    }
    if status.success() {
        return Ok(Ended::Green);
    }
    let text = String::from_utf8_lossy(&text);
    let failed = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
    let failed = failed.map(|name| name.strip_suffix(" - should panic").unwrap_or(name));
    Ok(Ended::Red(failed.map(str::to_owned).collect()))
}
