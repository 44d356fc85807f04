//! A program that rules run: without a shell, without input, in an empty environment, and never for longer than it may.

use super::{Error, within};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Gid, Group, Pid, Uid, User, getegid, geteuid};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process;
use tokio::time::timeout;

/// Octets of its standard output that are kept.
const OUTPUT_MAX: usize = 64 * 1024;
/// Octets of its standard error that are kept.
const COMPLAINT_MAX: usize = 4 * 1024;
/// How long its outputs are read after it has ended: somebody whom it has left behind may hold them open.
const GRACE: Duration = Duration::from_millis(100);
/// For starting and burying it, beside the time that it may run.
const MARGIN: Duration = Duration::from_secs(5);
/// Where programs are looked for when the server itself has no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// A program, and how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its path, or its name in the server's `PATH`.
    pub program: String,
    /// Its arguments, when a run has none of its own.
    pub arguments: Vec<String>,
    /// How long it may run.
    pub timeout: Duration,
    /// The user that it must run as. The server cannot become another, and so this is a promise to check.
    pub user: Option<String>,
    /// The group that it must run as, likewise.
    pub group: Option<String>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to standard output, 64 KiB at most.
    pub output: String,
    /// What it wrote to standard error, 4 KiB at most.
    pub complaint: String,
}

impl Command {
    /// Runs it with `arguments` to its end. When it takes too long it is killed with all that it has started, short of
    /// what has made a process group of its own.
    ///
    /// # Errors
    /// It cannot be started, or took too long.
    pub fn run(&self, arguments: &[String]) -> Result<Outcome, Error> {
        self.check_identity()?;
        let mut command = process::Command::new(&self.program);
        command
            .args(arguments)
            .env_clear()
            .env(
                "PATH",
                std::env::var_os("PATH").unwrap_or_else(|| PATH.into()),
            )
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let limit = self.timeout;
        within(limit + MARGIN, execute(command, limit))?
    }

    fn check_identity(&self) -> Result<(), Error> {
        if let Some(name) = &self.user {
            let uid: Option<Uid> = User::from_name(name).ok().flatten().map(|user| user.uid);
            if uid != Some(geteuid()) {
                return Err(Error::SomebodyElse(name.clone()));
            }
        }
        if let Some(name) = &self.group {
            let gid: Option<Gid> = Group::from_name(name).ok().flatten().map(|group| group.gid);
            if gid != Some(getegid()) {
                return Err(Error::SomebodyElse(name.clone()));
            }
        }
        Ok(())
    }
}

async fn execute(mut command: process::Command, limit: Duration) -> Result<Outcome, Error> {
    let failed = |error: io::Error| Error::Unreachable(error.to_string());
    let mut child = command.spawn().map_err(failed)?;
    let group = child.id().and_then(|id| i32::try_from(id).ok());
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Read to their ends, however much is kept: a full pipe would stop the program.
    let reading = async { tokio::join!(text(stdout, OUTPUT_MAX), text(stderr, COMPLAINT_MAX)) };
    tokio::pin!(reading);
    let mut read = None;
    let ended = timeout(limit, async {
        loop {
            tokio::select! {
                status = child.wait() => return status,
                texts = &mut reading, if read.is_none() => read = Some(texts),
            }
        }
    });
    let Ok(status) = ended.await else {
        // It has not been waited for, so the group is still its own.
        if let Some(group) = group {
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = child.wait().await;
        return Err(Error::TimedOut(limit));
    };
    let status = status.map_err(failed)?;
    let (output, complaint) = match read {
        Some(texts) => texts,
        None => timeout(GRACE, reading).await.unwrap_or_default(),
    };
    Ok(Outcome {
        code: status.code(),
        signal: status.signal(),
        output,
        complaint,
    })
}

/// The first `max` octets of a pipe as text. The rest is read and forgotten.
async fn text(pipe: Option<impl AsyncRead + Unpin>, max: usize) -> String {
    let mut kept = Vec::new();
    if let Some(mut pipe) = pipe {
        let mut piece = vec![0; 8 * 1024];
        // A pipe that breaks has come to its end.
        while let Ok(length @ 1..) = pipe.read(&mut piece).await {
            let room = max.saturating_sub(kept.len()).min(length);
            kept.extend_from_slice(piece.get(..room).unwrap_or_default());
        }
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    fn shell(script: &str, timeout: Duration) -> Result<Outcome, Error> {
        let command = Command {
            program: "sh".to_owned(),
            arguments: Vec::new(),
            timeout,
            user: None,
            group: None,
        };
        command.run(&["-c".to_owned(), script.to_owned()])
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn tells_how_it_ended() {
        for (script, code, signal, output, complaint) in [
            ("exit 0", Some(0), None, "", ""),
            (
                "echo yes; echo no >&2; exit 3",
                Some(3),
                None,
                "yes\n",
                "no\n",
            ),
            ("kill -9 $$", None, Some(9), "", ""),
            ("cat", Some(0), None, "", ""),
            ("pwd", Some(0), None, "/\n", ""),
            ("echo \"$HOME$USER$LANG\"", Some(0), None, "\n", ""),
        ] {
            let outcome = shell(script, LONG).unwrap();
            let expected = Outcome {
                code,
                signal,
                output: output.to_owned(),
                complaint: complaint.to_owned(),
            };
            assert_eq!(outcome, expected, "{script}");
        }
    }

    #[test]
    fn much_output_is_cut() {
        let outcome = shell("head -c 1000000 /dev/zero | tr '\\0' x", LONG).unwrap();
        assert_eq!((outcome.code, outcome.output.len()), (Some(0), OUTPUT_MAX));
    }

    #[test]
    fn who_is_left_behind_holds_nobody_up() {
        let start = Instant::now();
        let outcome = shell("sleep 50 & exit 0", LONG).unwrap();
        assert_eq!(outcome.code, Some(0));
        assert!(start.elapsed() < Duration::from_secs(25));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_its_children() {
        let folder = tempfile::tempdir().unwrap();
        let pid = folder.path().join("pid");
        let limit = Duration::from_millis(500);
        let script = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        assert_eq!(shell(&script, limit), Err(Error::TimedOut(limit)));
        let pid: i32 = std::fs::read_to_string(&pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // Whoever inherits it may take a moment to bury it.
        let start = Instant::now();
        let alive = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
        };
        while alive() {
            assert!(start.elapsed() < LONG, "it lives");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_cannot_be_run_is_an_error() {
        let command = Command {
            program: "/nowhere/to/be/found".to_owned(),
            arguments: Vec::new(),
            timeout: LONG,
            user: None,
            group: None,
        };
        assert!(matches!(command.run(&[]), Err(Error::Unreachable(_))));
        let nul = ["a\0b".to_owned()];
        assert!(matches!(command.run(&nul), Err(Error::Unreachable(_))));
        let somebody = Command {
            user: Some("no-such-user".to_owned()),
            ..command
        };
        let error = somebody.run(&[]);
        assert_eq!(error, Err(Error::SomebodyElse("no-such-user".to_owned())));
    }
}
