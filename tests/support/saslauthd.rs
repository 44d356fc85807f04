//! Something that speaks like saslauthd, and knows one user.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;

/// Listens below `folder` for as long as the tests run, and says yes to this user with this password. Returns its socket.
pub fn saslauthd(folder: &Path, user: &str, password: &str) -> PathBuf {
    let socket = folder.join("mux");
    let listener = UnixListener::bind(&socket).unwrap();
    // The daemon is somebody else when the tests run as root.
    fs::set_permissions(&socket, PermissionsExt::from_mode(0o666)).unwrap();
    let known = [user, password, "smtp", ""].map(|field| field.as_bytes().to_vec());
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client that hangs up is not our concern.
            let _ = stream.and_then(|stream| answer(stream, &known));
        }
    });
    socket
}

fn answer(mut stream: UnixStream, known: &[Vec<u8>; 4]) -> io::Result<()> {
    let mut asked = Vec::new();
    for _ in known {
        let mut length = [0; 2];
        stream.read_exact(&mut length)?;
        let mut field = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut field)?;
        asked.push(field);
    }
    let answer = if asked == known { "OK" } else { "NO" };
    stream.write_all(&2_u16.to_be_bytes())?;
    stream.write_all(answer.as_bytes())
}
