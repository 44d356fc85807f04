//! One connection: who is at the other end, what is asked, and the answer. Nothing here waits for a peer without an end.

use super::acting::Work;
use super::protocol::{Greeting, REQUEST_MAX, append_line};
use super::reading::Archive;
use super::{Answer, Desk, Refusal, Request};
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{interval, timeout};

/// How long a request may take to arrive.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to read a part of its answer: longer than a person needs for a page.
const WRITE_TIMEOUT: Duration = Duration::from_secs(600);
/// How often whoever waits is told that something happens.
const PROGRESS: Duration = Duration::from_secs(1);
/// Octets of answers that are written together, and how many such parts may wait for the peer.
const PART: usize = 32 * 1024;
const PARTS: usize = 4;

/// Serves one request. `uid`: whose, as the kernel says. Gives the stream back where SMTP is to follow.
pub(super) async fn serve(
    mut stream: UnixStream,
    uid: u32,
    desk: Arc<Desk>,
) -> io::Result<Option<UnixStream>> {
    write(&mut stream, &greeting(&desk)).await?;
    let request = timeout(REQUEST_TIMEOUT, read_request(&mut stream)).await;
    let request = request.map_err(|_| ErrorKind::TimedOut)??;
    let answered = match request {
        Ok(Request::Submit) => return Ok(Some(stream)),
        _ if !desk.is_owner(uid) => refuse(&mut stream, Refusal::Forbidden).await,
        Err(refusal) => refuse(&mut stream, refusal).await,
        Ok(request) => {
            tracing::debug!(uid, ?request, "control");
            match request {
                Request::Act { action, targets } => {
                    let archive = desk.archive();
                    let (progress, told) = watch::channel(Default::default());
                    let work = Work {
                        queue: desk.queue.clone(),
                        archive,
                        action,
                        progress,
                    };
                    let shown: Vec<String> = targets.iter().cloned().map(Into::into).collect();
                    let done = act(&mut stream, work, targets, told).await?;
                    if let Answer::Done(summary) = &done {
                        let (messages, recipients) = (summary.messages, summary.recipients);
                        let what = action.past();
                        tracing::info!(
                            uid,
                            ?shown,
                            messages,
                            recipients,
                            "messages {what} by an operator"
                        );
                    }
                    send(&mut stream, &done).await
                }
                request => read(&mut stream, desk.archive(), request).await,
            }
        }
    };
    answered.map(|()| None)
}

async fn refuse(stream: &mut UnixStream, refusal: Refusal) -> io::Result<()> {
    send(stream, &Answer::Refused(refusal)).await
}

/// Tells a peer that it is one too many.
pub(super) async fn turn_away(mut stream: UnixStream, desk: Arc<Desk>) {
    let mut said = greeting(&desk);
    Answer::Refused(Refusal::Overloaded).write_to(&mut said);
    // A socket this new takes so few octets at once, or its peer is gone.
    let _ = timeout(REQUEST_TIMEOUT, stream.write_all(&said)).await;
}

fn greeting(desk: &Desk) -> Vec<u8> {
    let mut line = Vec::new();
    let greeting = Greeting {
        vsmtp: env!("CARGO_PKG_VERSION").to_owned(),
        spool: desk.spool.clone(),
    };
    append_line(&mut line, &greeting);
    line
}

/// The line of the request. The peer waits for its answer, and says no more.
async fn read_request(stream: &mut UnixStream) -> io::Result<Result<Request, Refusal>> {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() > REQUEST_MAX {
            let what = format!("it is longer than {REQUEST_MAX} octets");
            return Ok(Err(Refusal::Malformed(what)));
        }
        if stream.read_buf(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
    let request = serde_json::from_slice(&line);
    Ok(request.map_err(|error| Refusal::Malformed(error.to_string())))
}

/// Answers what changes nothing. The thread that reads waits for a peer that is slow, and ends with it.
async fn read(stream: &mut UnixStream, archive: Archive, request: Request) -> io::Result<()> {
    let (sender, mut parts) = mpsc::channel::<Vec<u8>>(PARTS);
    let reading = spawn_blocking(move || {
        let mut part = Vec::with_capacity(PART);
        let send = |part: Vec<u8>| {
            let sent = sender.blocking_send(part);
            sent.map_err(|_| io::Error::from(ErrorKind::BrokenPipe))
        };
        archive.answer(&request, &mut |answer| {
            answer.write_to(&mut part);
            match part.len() > PART || answer.is_last() {
                true => send(std::mem::take(&mut part)),
                false => Ok(()),
            }
        })
    });
    while let Some(part) = parts.recv().await {
        write(stream, &part).await?;
    }
    reading.await.map_err(io::Error::other)?
}

/// Does what changes messages; the answer is the last one.
async fn act(
    stream: &mut UnixStream,
    work: Work,
    targets: Vec<super::Target>,
    told: watch::Receiver<super::Summary>,
) -> io::Result<Answer> {
    let mut working = tokio::spawn(work.run(targets));
    let mut looks = interval(PROGRESS);
    looks.tick().await;
    loop {
        tokio::select! {
            done = &mut working => return Ok(match done {
                Ok(Ok(summary)) => Answer::Done(summary),
                Ok(Err(why)) => Answer::Refused(Refusal::Failed(why)),
                Err(error) => Answer::Refused(Refusal::Failed(error.to_string())),
            }),
            _ = looks.tick() => {
                let progress = told.borrow().clone();
                send(stream, &Answer::Progress(progress)).await?;
            }
        }
    }
}

async fn send(stream: &mut UnixStream, answer: &Answer) -> io::Result<()> {
    let mut octets = Vec::new();
    answer.write_to(&mut octets);
    write(stream, &octets).await
}

async fn write(stream: &mut UnixStream, octets: &[u8]) -> io::Result<()> {
    let written = timeout(WRITE_TIMEOUT, stream.write_all(octets)).await;
    written.map_err(|_| io::Error::from(ErrorKind::TimedOut))?
}
