//! Where answers go: standard output, and progress to a terminal's standard error.

use serde::Serialize;
use std::fmt::Display;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Seek, Write};
use vsmtp::control::{Access, Summary};

/// Where an answer goes. What is still in a buffer goes out with this value; to know whether it could, finish.
pub(super) struct Output {
    to: Box<dyn Write>,
    /// An answer that is kept until it is whole: whoever reads it page by page would keep the daemon from starting.
    kept: Option<File>,
}

impl Output {
    /// For the answer of `access`.
    pub fn of(access: &Access) -> io::Result<Self> {
        let kept = match access {
            Access::Daemon(_) => None,
            Access::Spool(_) => Some(tempfile::tempfile()?),
        };
        Ok(Self {
            to: match &kept {
                Some(file) => Box::new(BufWriter::new(file.try_clone()?)),
                None => Box::new(BufWriter::new(io::stdout())),
            },
            kept,
        })
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

    /// The answer is whole, and nothing is held any more that it came from.
    pub fn finish(mut self) -> io::Result<()> {
        let mut terminal = io::stderr();
        if terminal.is_terminal() {
            // What was told of progress, as little as it matters.
            let _ = terminal.write_all(b"\r\x1b[K");
        }
        self.to.flush()?;
        if let Some(mut kept) = self.kept {
            kept.rewind()?;
            io::copy(&mut kept, &mut io::stdout())?;
        }
        io::stdout().flush()
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
