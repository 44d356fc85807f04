//! Where answers go: standard output, and progress to a terminal's standard error.

use serde::Serialize;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use vsmtp::control::Summary;

/// Standard output. What is still in the buffer goes out with this value; to know whether it could, flush it.
pub(super) struct Output {
    to: BufWriter<Stdout>,
}

impl Output {
    pub fn new() -> Self {
        Self {
            to: BufWriter::new(io::stdout()),
        }
    }

    pub fn line(&mut self, line: impl Display) -> io::Result<()> {
        writeln!(self.to, "{line}")
    }

    pub fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.to, value)?;
        self.to.write_all(b"\n")
    }

    pub fn octets(&mut self, octets: &[u8]) -> io::Result<()> {
        self.to.write_all(octets)
    }

    pub fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// Tells a person that something happens.
pub(super) fn progress(summary: &Summary) {
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        let Summary { seen, messages, .. } = summary;
        // A terminal that is gone needs no progress.
        let _ = write!(
            terminal,
            "\r{seen} messages looked at, {messages} of them meant\r"
        );
    }
}
