//! The other process, as seen from here.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Command, Stdio};

use super::caller::{Done, Order};
use super::rows::Row;

/// A process with the client of one row. It ends with this value.
pub(crate) struct Caller {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Caller {
    /// It asks this port. `before`: what starts the program, if it is not started as it is.
    pub(crate) fn start(row: Row, port: u16, tasks: usize, before: &[&str]) -> Self {
        let program = std::env::current_exe().expect("a path").to_string_lossy().into_owned();
        let [at, port, tasks] = [row.at().to_string(), port.to_string(), tasks.to_string()];
        let words = [before, &[&*program, "call", &at, &port, &tasks]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{} is needed: {error}", words[0]));
        let says = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, says }
    }

    /// Has it make these requests.
    pub(crate) fn ask(&mut self, order: &Order) -> Done {
        let orders = self.child.stdin.as_mut().expect("a pipe");
        writeln!(orders, "{order}").expect("a process that reads");
        let mut said = String::new();
        self.says.read_line(&mut said).expect("text");
        said.parse().unwrap_or_else(|error| panic!("{error}; {}", self.complaint()))
    }

    /// Ends it, and gives what it wrote to standard error.
    pub(crate) fn end(mut self) -> String {
        self.complaint()
    }

    fn complaint(&mut self) -> String {
        drop(self.child.stdin.take());
        let mut said = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
        said
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
