//! Programs that somebody else wrote, and what to do where they are absent.

use super::PATIENCE;
use libtest_mimic::{Failed, Trial};
use std::collections::HashMap;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{LazyLock, Mutex};
use std::thread;
use std::time::Instant;

/// What a program said, and how it ended.
#[derive(Debug)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub status: ExitStatus,
}

impl Output {
    /// Its standard output; fails the test unless the program was content.
    pub fn success(self) -> String {
        assert!(self.status.success(), "{self:#?}");
        self.stdout
    }

    /// Both outputs, for programs that are of two minds about which to use.
    pub fn both(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs `command` with `input` to the end; kills it when it takes longer than [`PATIENCE`].
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let input = input.to_owned();
    let writer = thread::spawn(move || {
        // A program that ends without reading all of it is judged by what it says.
        let _ = stdin.write_all(input.as_bytes());
    });
    let read = |mut from: Box<dyn Read + Send>| {
        thread::spawn(move || {
            let mut octets = Vec::new();
            let _ = from.read_to_end(&mut octets);
            String::from_utf8_lossy(&octets).into_owned()
        })
    };
    let (stdout, stderr) = (read(Box::new(stdout)), read(Box::new(stderr)));
    let start = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if start.elapsed() > PATIENCE {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{command:?} does not end: {:?}", stdout.join());
        }
        thread::sleep(std::time::Duration::from_millis(5));
    };
    let _ = writer.join();
    Output {
        stdout: stdout.join().unwrap(),
        stderr: stderr.join().unwrap(),
        status,
    }
}

/// A test that needs `programs`. Where one is absent the test is listed as ignored and its kind says why; on CI, which
/// installs what it needs, that is a failure.
pub fn trial_with(
    programs: &'static [&'static str],
    name: impl Into<String>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    trial_or(None, programs, name, test)
}

/// As [`trial_with`], for a test that another `obstacle` may stand against.
pub fn trial_or(
    obstacle: Option<String>,
    programs: &'static [&'static str],
    name: impl Into<String>,
    test: impl FnOnce() + Send + 'static,
) -> Trial {
    let absent: Vec<&str> = programs.iter().copied().filter(|p| !present(p)).collect();
    let absent = (!absent.is_empty()).then(|| format!("needs {}", absent.join(" and ")));
    let Some(reason) = obstacle.or(absent) else {
        return Trial::test(name, || {
            test();
            Ok(())
        });
    };
    let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    let failed: Result<(), Failed> = Err(reason.clone().into());
    Trial::test(name, || failed)
        .with_kind(reason)
        .with_ignored_flag(!on_ci)
}

/// Whether `program` can be started. Asked once for each.
fn present(program: &str) -> bool {
    static KNOWN: LazyLock<Mutex<HashMap<String, bool>>> = LazyLock::new(Mutex::default);
    let mut known = KNOWN.lock().unwrap();
    *known.entry(program.to_owned()).or_insert_with(|| {
        let (argument, expected) = match program {
            "openssl" => ("version", ""),
            "saslauthd" => ("-v", ""),
            // Without a library that it does not insist on, it is of half the use.
            "swaks" => ("--support", "TLS supported"),
            _ => ("--version", ""),
        };
        let output = Command::new(program)
            .arg(argument)
            .stdin(Stdio::null())
            .output();
        output.is_ok_and(|output| {
            output.status.success() && String::from_utf8_lossy(&output.stdout).contains(expected)
        })
    })
}
