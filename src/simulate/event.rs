//! What happens in a simulation, one thing at a time, for people and for programs.
//!
//! For people it is written as a dialogue whose comments are the trace: what a simulation prints can be kept as a test.

use serde::{Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;

/// Whoever is told.
pub(super) type Listener<'a> = Box<dyn FnMut(&Event) + 'a>;

/// One thing that happens.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(super) enum Event {
    /// The client comes back on a new connection.
    Connect,
    /// The client sends a line, with its end.
    Client {
        #[serde(serialize_with = "lossy", rename = "line")]
        octets: Vec<u8>,
    },
    /// The server sends a line.
    Server { line: String },
    /// STARTTLS has led to TLS.
    Handshake { name: Option<String> },
    /// The rules of a stage are about to run.
    Stage { stage: &'static str, about: String },
    /// A directive has run.
    Ran {
        file: PathBuf,
        line: usize,
        column: usize,
        kind: &'static str,
        name: String,
        result: String,
        microseconds: u64,
    },
    /// No rule refused, and the built-in guard did.
    Guard { reply: String },
    /// A rule has called `log()`.
    Log { text: String },
    /// A rule has written a file below `app.dirpath`, or would have.
    Wrote { file: PathBuf },
    /// The queue answers for this recipient now, or a rule of the queue has let the message go on to it.
    Queue {
        step: &'static str,
        id: String,
        from: String,
        to: String,
        quarantine: Option<String>,
        octets: u64,
    },
    /// A rule of the queue has refused the message for this recipient.
    Refused { to: String, reply: String },
}

fn lossy<S: Serializer>(octets: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(String::from_utf8_lossy(octets).trim_end_matches("\r\n"))
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("T: connect"),
            Self::Client { octets } => client(f, octets),
            Self::Server { line } => write!(f, "S: {line}"),
            Self::Handshake { name: None } => f.write_str("T: starttls"),
            Self::Handshake { name: Some(name) } => write!(f, "T: starttls {name}"),
            Self::Stage { stage, about } => write!(f, "# {stage} {about}"),
            Self::Ran {
                file,
                line,
                column,
                kind,
                name,
                result,
                microseconds,
            } => write!(
                f,
                "#   {}:{line}:{column}: {kind} {name:?}: {} ({microseconds} µs)",
                file.display(),
                result.replace('\n', " / ")
            ),
            Self::Guard { reply } => {
                write!(f, "#   no rule decides, the built-in guard does: {reply}")
            }
            Self::Log { text } => write!(f, "#   log: {text}"),
            Self::Wrote { file } => write!(f, "#   writes {} below app.dirpath", file.display()),
            Self::Queue {
                step,
                id,
                from,
                to,
                quarantine,
                octets,
            } => {
                write!(f, "# {step} {id} from <{from}> to <{to}>, {octets} octets")?;
                match quarantine {
                    Some(quarantine) => write!(f, ", in quarantine {quarantine:?}"),
                    None => Ok(()),
                }
            }
            Self::Refused { to, reply } => write!(f, "#   refused for <{to}>: {reply}"),
        }
    }
}

/// A line of the client as a dialogue has it.
fn client(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    let text = octets.strip_suffix(b"\r\n").map(std::str::from_utf8);
    if let Some(Ok(text)) = text
        && !text.contains(char::is_control)
    {
        return match text {
            "" => f.write_str("C:"),
            _ => write!(f, "C: {text}"),
        };
    }
    f.write_str("C\\: ")?;
    for octet in octets {
        match octet {
            b'\\' => f.write_str("\\\\")?,
            b'\r' => f.write_str("\\r")?,
            b'\n' => f.write_str("\\n")?,
            b'\t' => f.write_str("\\t")?,
            b' '..=b'~' => write!(f, "{}", char::from(*octet))?,
            other => write!(f, "\\x{other:02x}")?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_sends_is_written_as_a_dialogue() {
        for (octets, expected) in [
            (&b"NOOP\r\n"[..], "C: NOOP"),
            (b"caf\xc3\xa9\r\n", "C: café"),
            (b"a\tb\n", "C\\: a\\tb\\n"),
            (b"\\\xff\r\n", "C\\: \\\\\\xff\\r\\n"),
        ] {
            let octets = octets.to_vec();
            assert_eq!(Event::Client { octets }.to_string(), expected);
        }
    }
}
