//! From root to the user of the configuration, for good.
//!
//! Credentials belong to threads on Linux; nix's calls go through the C library, which changes all threads alike. They are
//! made before the runtime starts its threads all the same, so that nothing ever runs as root that need not.

use crate::config::System;
use nix::errno::Errno;
use nix::unistd::{
    Gid, Group, Uid, User, chown, geteuid, getgroups, getresgid, getresuid, initgroups, setgid,
    setgroups, setuid,
};
use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why the daemon will not run with the rights that it has.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `server.system.user` does not exist.
    #[error(
        "user \"{0}\" (server.system.user) does not exist: create it (`useradd --system {0}`), or name another"
    )]
    NoUser(String),
    /// `server.system.group` or `group_local` does not exist.
    #[error(
        "group \"{name}\" ({key}) does not exist: create it (`groupadd --system {name}`), or name another"
    )]
    NoGroup {
        /// The name.
        name: String,
        /// The configuration key.
        key: &'static str,
    },
    /// The configuration names root.
    #[error(
        "vsmtp does not run as root: name an ordinary user and group in server.system.user and server.system.group"
    )]
    Root,
    /// The system refused the change.
    #[error(
        "cannot become user \"{user}\": {errno}: start as root with its capabilities, or as that user"
    )]
    Refused {
        /// Who to become.
        user: String,
        /// What the system said.
        errno: Errno,
    },
    /// The change was reported as done, and root is still within reach.
    #[error("root's rights could be taken back after they were dropped: start as an ordinary user")]
    Regained,
    /// A folder could not be made or given away.
    #[error("cannot prepare {}: {error}: make it, and let the user of vsmtp write there", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// Whom to become.
#[derive(Debug)]
pub struct Identity {
    name: String,
    user: Uid,
    group: Gid,
    /// `server.system.group_local`
    local: Option<Gid>,
}

impl Identity {
    /// Who is to be become: `None` when not started as root, since then there is nothing to give up.
    pub fn choose(system: &System) -> Result<Option<Self>, Error> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        let user = User::from_name(&system.user)
            .ok()
            .flatten()
            .ok_or_else(|| Error::NoUser(system.user.clone()))?;
        let group = find_group(&system.group, "server.system.group")?;
        let local = system
            .group_local
            .as_deref()
            .map(|name| find_group(name, "server.system.group_local"))
            .transpose()?;
        if user.uid.is_root() || group.as_raw() == 0 {
            return Err(Error::Root);
        }
        Ok(Some(Self {
            name: system.user.clone(),
            user: user.uid,
            group,
            local,
        }))
    }

    /// Gives a file that root has just made to the user.
    pub fn give(&self, path: &Path) -> io::Result<()> {
        Ok(chown(path, Some(self.user), Some(self.group))?)
    }

    /// Gives up root: user, group and supplementary groups, and proves that they cannot be had back.
    pub fn assume(&self) -> Result<(), Error> {
        let refused = |errno| Error::Refused {
            user: self.name.clone(),
            errno,
        };
        let name = CString::new(self.name.as_str()).map_err(|_| refused(Errno::EINVAL))?;
        initgroups(&name, self.group).map_err(refused)?;
        let mut groups = getgroups().map_err(refused)?;
        // The database may put the user into root's group; nothing here needs that.
        groups.retain(|group| group.as_raw() != 0);
        groups.extend(self.local.filter(|local| !groups.contains(local)));
        setgroups(&groups).map_err(refused)?;
        setgid(self.group).map_err(refused)?;
        setuid(self.user).map_err(refused)?;
        self.prove().then_some(()).ok_or(Error::Regained)
    }

    fn prove(&self) -> bool {
        let users = getresuid().is_ok_and(|ids| {
            [ids.real, ids.effective, ids.saved]
                .iter()
                .all(|id| *id == self.user)
        });
        let groups = getresgid().is_ok_and(|ids| {
            [ids.real, ids.effective, ids.saved]
                .iter()
                .all(|id| *id == self.group)
        });
        let root = Gid::from_raw(0);
        users
            && groups
            && getgroups().is_ok_and(|groups| !groups.contains(&root))
            && setuid(Uid::from_raw(0)).is_err()
            && setgid(root).is_err()
    }
}

fn find_group(name: &str, key: &'static str) -> Result<Gid, Error> {
    Group::from_name(name)
        .ok()
        .flatten()
        .map(|group| group.gid)
        .ok_or_else(|| Error::NoGroup {
            name: name.to_owned(),
            key,
        })
}

/// Makes `path` and what is missing above it, for the eyes of the user alone. What exists is left as it is: its owner had
/// reasons.
pub fn make_folder(path: &Path, identity: Option<&Identity>) -> Result<(), Error> {
    make(path, 0o700, identity)
}

/// [`make_folder`], for what everybody may get at.
pub fn make_open_folder(path: &Path, identity: Option<&Identity>) -> Result<(), Error> {
    make(path, 0o755, identity)
}

fn make(path: &Path, mode: u32, identity: Option<&Identity>) -> Result<(), Error> {
    let failed = |error| Error::Folder {
        path: path.to_owned(),
        error,
    };
    let missing: Vec<&Path> = path.ancestors().take_while(|p| !p.exists()).collect();
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder.create(path).map_err(failed)?;
    if let Some(identity) = identity {
        missing
            .iter()
            .try_for_each(|made| identity.give(made))
            .map_err(failed)?;
    }
    Ok(())
}

/// [`make_folder`], for the mailboxes: `server.system.group_local` may read them, and what is made inside inherits it.
pub fn make_mail_folder(path: &Path, identity: Option<&Identity>) -> Result<(), Error> {
    let made = !path.exists();
    make_folder(path, identity)?;
    let Some((identity, local)) = identity.and_then(|i| Some((i, i.local?))).filter(|_| made)
    else {
        return Ok(());
    };
    chown(path, Some(identity.user), Some(local))
        .map_err(io::Error::from)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o2750)))
        .map_err(|error| Error::Folder {
            path: path.to_owned(),
            error,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system(user: &str, group: &str) -> System {
        System {
            user: user.to_owned(),
            group: group.to_owned(),
            group_local: None,
            thread_pool: 1,
        }
    }

    #[test]
    fn refuses_root_and_names_who_is_missing() {
        if !geteuid().is_root() {
            assert!(
                Identity::choose(&system("no such user", "x"))
                    .unwrap()
                    .is_none()
            );
            return;
        }
        for (user, group, expected) in [
            ("root", "nogroup", "does not run as root"),
            ("nobody", "root", "does not run as root"),
            ("no-such-user", "root", "user \"no-such-user\""),
            (
                "nobody",
                "no-such-group",
                "group \"no-such-group\" (server.system.group)",
            ),
        ] {
            let error = Identity::choose(&system(user, group)).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn makes_folders_for_nobody_elses_eyes() {
        let above = tempfile::tempdir().unwrap();
        let path = above.path().join("a/b");
        make_folder(&path, None).unwrap();
        make_folder(&path, None).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}
