//! The units that run the server under systemd, for every distribution: three sockets, the service and its user.
//!
//! The texts are the files of `nixos/systemd`, which are made of the data that the NixOS module uses, so that the server is
//! as little exposed here as there. Only the paths of the program and of its configuration are put in. Nothing is enabled
//! or started.
//!
//! Formats: systemd.unit(5), systemd.service(5), sysusers.d(5).

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that systemd reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Where it belongs, from the root of the system: `etc/systemd/system/vsmtp.service`.
    pub path: &'static str,
    /// What is in it.
    pub text: String,
}

/// What has become of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there.
    Written,
    /// It was there, and the same.
    Unchanged,
    /// Another was there, and is gone.
    Replaced,
    /// Another was there, and still is.
    Kept,
}

/// Why there are no units.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A path that cannot be written in a unit.
    #[error("{0:?} is not UTF-8, which a unit has to be: give it another name")]
    NoText(PathBuf),
    /// A file that cannot be read or written.
    #[error("{path}: {error}")]
    File {
        /// Where it is.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
}

/// Where the files of `nixos/systemd` go, and what they say.
const TEMPLATES: [(&str, &str); 5] = [
    (
        "etc/systemd/system/vsmtp.service",
        include_str!("../nixos/systemd/vsmtp.service"),
    ),
    (
        "etc/systemd/system/vsmtp-smtp.socket",
        include_str!("../nixos/systemd/vsmtp-smtp.socket"),
    ),
    (
        "etc/systemd/system/vsmtp-submission.socket",
        include_str!("../nixos/systemd/vsmtp-submission.socket"),
    ),
    (
        "etc/systemd/system/vsmtp-submissions.socket",
        include_str!("../nixos/systemd/vsmtp-submissions.socket"),
    ),
    (
        "etc/sysusers.d/vsmtp.conf",
        include_str!("../nixos/systemd/vsmtp.sysusers.conf"),
    ),
];

/// What the templates have in place of the paths.
const PROGRAM: &str = "/usr/bin/vsmtp";
const CONFIGURATION: &str = "/etc/vsmtp";

/// The folders that the service does not see (ProtectHome, PrivateTmp), or that hold a program for a while only.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run", "/tmp", "/var/tmp"];

/// The units for a program and a configuration at these absolute paths.
///
/// # Errors
/// A path is not UTF-8, which unit files have to be.
pub fn units(program: &Path, configuration: &Path) -> Result<Vec<Unit>, Error> {
    let text = |path: &Path| path.to_str().map(str::to_owned);
    let program = text(program).ok_or_else(|| Error::NoText(program.into()))?;
    let configuration = text(configuration).ok_or_else(|| Error::NoText(configuration.into()))?;
    // `$` begins a variable in all words save the first.
    let (program, configuration) = (word(&program), word(&configuration.replace('$', "$$")));
    let command = |line: &str| match line.starts_with("Exec") {
        true => line
            .replacen(CONFIGURATION, &configuration, 1)
            .replacen(PROGRAM, &program, 1),
        false => line.to_owned(),
    };
    let unit = |(path, text): &(&'static str, &str)| Unit {
        path,
        text: text.split_inclusive('\n').map(command).collect(),
    };
    Ok(TEMPLATES.iter().map(unit).collect())
}

/// Whether the service cannot see a program at that path.
pub fn is_hidden(program: &Path) -> bool {
    HIDDEN.iter().any(|folder| program.starts_with(folder))
}

/// Writes a unit below `root`. One that is there already and differs, because somebody changed it or because it is of
/// another version, is kept unless `replace` says otherwise.
///
/// # Errors
/// The file cannot be read or written. What is there is then as it was.
pub fn install(unit: &Unit, root: &Path, replace: bool) -> Result<(PathBuf, Outcome), Error> {
    let path = root.join(unit.path);
    match write(unit, &path, replace) {
        Ok(outcome) => Ok((path, outcome)),
        Err(error) => Err(Error::File { path, error }),
    }
}

fn write(unit: &Unit, path: &Path, replace: bool) -> io::Result<Outcome> {
    let outcome = match fs::read(path) {
        Ok(found) if found == unit.text.as_bytes() => return Ok(Outcome::Unchanged),
        Ok(_) if !replace => return Ok(Outcome::Kept),
        Ok(_) => Outcome::Replaced,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Outcome::Written,
        Err(error) => return Err(error),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    // systemd reads whatever is there at any moment: never half a file.
    let unfinished = path.with_extension("unfinished");
    let written = File::create(&unfinished)
        .and_then(|mut file| file.write_all(unit.text.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written.map(|()| outcome)
}

/// A path as one word of a command line in a unit: systemd.service(5), "Command lines", and specifiers.
fn word(path: &str) -> String {
    let text = path.replace('%', "%%");
    if text
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-+%$@:,=".contains(c))
    {
        return text;
    }
    let escaped = text.chars().fold(String::new(), |mut word, c| {
        match c {
            '"' | '\\' => word.extend(['\\', c]),
            '\n' => word.push_str("\\n"),
            '\t' => word.push_str("\\t"),
            _ => word.push(c),
        }
        word
    });
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(program: &str, configuration: &str) -> Vec<String> {
        let units = units(Path::new(program), Path::new(configuration));
        units.unwrap().into_iter().map(|unit| unit.text).collect()
    }

    #[test]
    fn the_usual_paths_give_the_committed_files() {
        let committed: Vec<&str> = TEMPLATES.iter().map(|(_, text)| *text).collect();
        assert_eq!(texts("/usr/bin/vsmtp", "/etc/vsmtp"), committed);
    }

    #[test]
    fn other_paths_are_put_where_commands_have_them() {
        let service = texts("/opt/my mail/$100%/vsmtp", "/srv/$HOME/etc").remove(0);
        for line in [
            "ExecStart=\"/opt/my mail/$100%%/vsmtp\" serve --config /srv/$$HOME/etc\n",
            "ExecReload=\"/opt/my mail/$100%%/vsmtp\" check --config /srv/$$HOME/etc\n",
        ] {
            assert!(service.contains(line), "{line} is not in {service}");
        }
        assert!(!service.contains(PROGRAM), "{service}");
    }

    fn service() -> Unit {
        let units = units(Path::new("/usr/bin/vsmtp"), Path::new("/etc/vsmtp"));
        units.unwrap().remove(0)
    }

    #[test]
    fn what_somebody_changed_is_kept_until_told_otherwise() {
        let root = tempfile::tempdir().unwrap();
        let unit = service();
        let outcome = |replace| install(&unit, root.path(), replace).unwrap();
        assert_eq!(outcome(false).1, Outcome::Written);
        assert_eq!(outcome(false).1, Outcome::Unchanged);
        let path = outcome(true).0;
        fs::write(&path, "[Service]\n").unwrap();
        assert_eq!(outcome(false).1, Outcome::Kept);
        assert_eq!(fs::read_to_string(&path).unwrap(), "[Service]\n");
        assert_eq!(outcome(true).1, Outcome::Replaced);
        assert_eq!(fs::read_to_string(&path).unwrap(), unit.text);
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "nothing else is left behind");
    }

    #[test]
    fn a_path_that_is_no_file_is_an_error_with_its_name() {
        let root = tempfile::tempdir().unwrap();
        let unit = service();
        fs::create_dir_all(root.path().join(unit.path)).unwrap();
        let error = install(&unit, root.path(), true).unwrap_err().to_string();
        assert!(error.contains("vsmtp.service: "), "{error}");
    }
}
