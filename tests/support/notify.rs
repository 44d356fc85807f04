//! The other end of `NOTIFY_SOCKET` (sd_notify(3)).

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A socket that collects what the daemon tells systemd.
pub struct Notify {
    path: PathBuf,
    socket: UnixDatagram,
    said: Vec<String>,
}

impl Notify {
    pub fn bind(folder: &Path) -> Self {
        let path = folder.join("notify");
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        // The daemon writes to it after it has given up root.
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(20)))
            .unwrap();
        Self {
            path,
            socket,
            said: Vec::new(),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every assignment so far (`READY=1`), in order; waits 20 ms for one when there is nothing new.
    pub fn said(&mut self) -> &[String] {
        let mut buffer = [0; 4096];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            self.said.extend(text.lines().map(str::to_owned));
        }
        &self.said
    }
}
