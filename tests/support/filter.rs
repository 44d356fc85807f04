//! A content filter that does with messages what a test wants.

use super::{Client, wait_for};
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a filter does with a message.
pub struct Verdict {
    /// What it gives back before it answers.
    pub before: Option<String>,
    /// Its answer to the content; empty: never.
    pub answer: &'static str,
    /// What it gives back after it has answered.
    pub after: Option<String>,
}

/// Decides about a content and the number, counted from 0, with which it came.
pub type Manner = fn(content: &str, number: usize) -> Verdict;

/// A message as a filter got it.
#[derive(Clone, Debug)]
pub struct Seen {
    pub from: String,
    pub to: Vec<String>,
    pub content: String,
}

/// A server in clear without any extension.
pub struct Filter {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    receiver: Option<SocketAddr>,
    seen: Vec<Seen>,
    /// What was answered to what it gave back.
    replies: Vec<String>,
}

impl Filter {
    /// On a port of its own.
    pub fn start(manner: Manner) -> Self {
        Self::start_at(TcpListener::bind("127.0.0.1:0").unwrap(), manner)
    }

    pub fn start_at(listener: TcpListener, manner: Manner) -> Self {
        let address = listener.local_addr().unwrap();
        let state = Arc::default();
        let shared = Arc::clone(&state);
        // It ends with the process: nobody has to wait for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = Arc::clone(&shared);
                thread::spawn(move || serve(stream.unwrap(), manner, &state));
            }
        });
        Self { address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it gives messages back from now on.
    pub fn give_back_to(&self, receiver: SocketAddr) {
        self.state.lock().unwrap().receiver = Some(receiver);
    }

    /// The messages that it got so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Waits for so many messages.
    pub fn wait(&self, count: usize) -> Vec<Seen> {
        wait_for(&format!("{count} messages at the filter"), || {
            Some(self.seen()).filter(|seen| seen.len() >= count)
        })
    }

    /// Gives back what it got, and says what was answered.
    pub fn give_back(&self, seen: &Seen) -> String {
        give_back(&self.state, seen, &seen.content)
    }

    /// What was answered to what it gave back by itself.
    pub fn replies(&self) -> Vec<String> {
        self.state.lock().unwrap().replies.clone()
    }
}

fn give_back(state: &Mutex<State>, seen: &Seen, content: &str) -> String {
    let receiver = wait_for("an address to give messages back to", || {
        state.lock().unwrap().receiver
    });
    let mut client = Client::hello(receiver);
    let mut reply = client.command(&format!("MAIL FROM:<{}>", seen.from));
    for to in &seen.to {
        reply = client.command(&format!("RCPT TO:<{to}>"));
    }
    if reply.code == 250 {
        reply = client.data(content.as_bytes());
    }
    reply.text()
}

fn serve(mut stream: TcpStream, manner: Manner, state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    let mut say = |text: &str| stream.write_all(format!("{text}\r\n").as_bytes()).is_ok();
    if !say("220 filter") {
        return;
    }
    let mut seen: Option<Seen> = None;
    loop {
        let mut line = String::new();
        if !matches!(lines.read_line(&mut line), Ok(length) if length > 0) {
            return;
        }
        let line = line.trim_end();
        let address = |line: &str| {
            let (_, rest) = line.split_once('<').unwrap();
            rest.split('>').next().unwrap().to_owned()
        };
        let said = match line.split(' ').next().unwrap() {
            "MAIL" => {
                seen = Some(Seen {
                    from: address(line),
                    to: Vec::new(),
                    content: String::new(),
                });
                say("250 ok")
            }
            "RCPT" => {
                seen.as_mut().unwrap().to.push(address(line));
                say("250 ok")
            }
            "DATA" => {
                let mut seen = seen.take().unwrap();
                let told = say("354 go on");
                seen.content = content(&mut lines);
                let number = {
                    let mut state = state.lock().unwrap();
                    state.seen.push(seen.clone());
                    state.seen.len() - 1
                };
                let verdict = manner(&seen.content, number);
                let back = |content: Option<String>| {
                    if let Some(content) = content {
                        let reply = give_back(state, &seen, &content);
                        state.lock().unwrap().replies.push(reply);
                    }
                };
                back(verdict.before);
                if verdict.answer.is_empty() {
                    return thread::park();
                }
                let answered = say(verdict.answer);
                back(verdict.after);
                told && answered
            }
            "QUIT" => {
                say("221 bye");
                return;
            }
            "STARTTLS" => say("502 no"),
            _ => say("250 ok"),
        };
        if !said {
            return;
        }
    }
}

/// What comes up to the final dot, without its transparency.
fn content(lines: &mut impl BufRead) -> String {
    let mut content = String::new();
    loop {
        let mut line = String::new();
        if !matches!(lines.read_line(&mut line), Ok(length) if length > 0) || line == ".\r\n" {
            return content;
        }
        content.push_str(line.strip_prefix('.').unwrap_or(&line));
    }
}
