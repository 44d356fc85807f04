//! Dialogues as data: `tests/dialogs/*.smtp`, written as in RFC 5321 appendix D, and the generated ones of
//! [`smuggling`]. Here each is played against a bare session; [`all`] is for whoever plays them over sockets.
//!
//! They are written as [`vsmtp::simulate::dialogue`] says. Their `P:` lines are what the server is told; see `Setup`:
//!
//! ```text
//! P: recipients 2
//! P: refuse rcpt <x@example.com> 550 5.7.1 No
//! ```

pub mod bare;
pub mod dialogue;
pub mod smuggling;

use bare::Bare;
use dialogue::{Dialogue, Transport};
use libtest_mimic::Trial;
use std::fs;
use std::path::Path;

/// Every dialogue, in the order of their names.
pub fn all() -> Vec<Dialogue> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/dialogs");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "smtp")
        })
        .collect();
    files.sort();
    let mut dialogues: Vec<_> = files
        .iter()
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap();
            Dialogue::parse(name, &fs::read_to_string(path).unwrap())
        })
        .collect();
    dialogues.extend(smuggling::dialogues());
    dialogues
}

/// Each dialogue against a bare session, over each transport, whole and octet by octet.
pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for dialogue in all() {
        for transport in [Transport::Clear, Transport::StartTls, Transport::Implicit] {
            for piece in [usize::MAX, 1] {
                if !dialogue.runs_over(transport) {
                    continue;
                }
                let name = match piece {
                    1 => format!("dialogs::session::{transport}::octets::{}", dialogue.name),
                    _ => format!("dialogs::session::{transport}::{}", dialogue.name),
                };
                let dialogue = dialogue.clone();
                trials.push(Trial::test(name, move || {
                    let mut wire = Bare::new(dialogue.setup.clone(), transport, piece);
                    Ok(dialogue.play(&mut wire, transport)?)
                }));
            }
        }
    }
    trials
}
