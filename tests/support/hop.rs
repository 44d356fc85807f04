//! A next hop that answers as a test wants.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Answers a command, or the end of content (`.`), of the session with this number, counted from 0. `None`: as every
/// server would. An empty answer: never.
pub type Manner = fn(line: &str, session: usize) -> Option<&'static str>;

/// A server in clear without any extension.
pub struct Hop {
    address: SocketAddr,
    sessions: Arc<Mutex<Vec<String>>>,
}

impl Hop {
    /// On a port of its own.
    pub fn start(manner: Manner) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), manner)
    }

    pub fn start_at(listener: TcpListener, manner: Manner) -> Self {
        let address = listener.local_addr().unwrap();
        let sessions = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&sessions);
        // It ends with the process: nobody has to wait for it.
        thread::spawn(move || {
            for (number, stream) in listener.incoming().enumerate() {
                heard.lock().unwrap().push(String::new());
                let heard = Arc::clone(&heard);
                let hear = move |line: &str| heard.lock().unwrap()[number].push_str(line);
                thread::spawn(move || serve(stream.unwrap(), number, manner, hear));
            }
        });
        Self { address, sessions }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was said in each session.
    pub fn sessions(&self) -> Vec<String> {
        self.sessions.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, number: usize, manner: Manner, hear: impl Fn(&str)) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut in_content = false;
    let mut line = String::from("connect");
    loop {
        let answered = !in_content || line == ".";
        if answered {
            let usual = match line.split(' ').next().unwrap_or_default() {
                "connect" => "220 hop",
                "DATA" => "354 go on",
                "QUIT" => "221 bye",
                "STARTTLS" => "502 no",
                _ => "250 ok",
            };
            let answer = manner(&line, number).unwrap_or(usual);
            if answer.is_empty() {
                return thread::park();
            }
            if stream
                .write_all(format!("{answer}\r\n").as_bytes())
                .is_err()
            {
                return;
            }
            in_content = answer.starts_with("354");
        }
        let mut next = String::new();
        if !matches!(lines.read_line(&mut next), Ok(length) if length > 0) {
            return;
        }
        hear(&next);
        next.truncate(next.trim_end().len());
        line = next;
    }
}
