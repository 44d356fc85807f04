//! What one more message costs, while few or many others wait for their next attempt: committed, taken and settled.
//!
//! `cargo bench --bench queue [WAITING…]`, where each number is how many wait; 1000 and 100000 unless given. Figures move
//! from run to run: only their ratio in one run counts: the middle one of several rounds, which the queues take in turns.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use nix::sys::resource::{UsageWho, getrusage};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::task::JoinSet;
use vsmtp::mail::{Address, Envelope, ReversePath};
use vsmtp::queue::{Options, Outcome, Queue, Schedule, State};

/// How many messages pass while the others wait.
const PASSING: usize = 10_000;
/// How many clients send at the same time, and how many deliveries are under way.
const CLIENTS: usize = 128;
/// How often that is measured.
const ROUNDS: usize = 7;
/// Octets of one content.
const SIZE: usize = 4096;

fn main() {
    let waiting: Vec<usize> = std::env::args()
        .filter_map(|word| word.parse().ok())
        .collect();
    let waiting = if waiting.is_empty() {
        vec![1_000, 100_000]
    } else {
        waiting
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut queues = runtime.block_on(fill(&waiting));
    for _ in 0..ROUNDS {
        for queue in &mut queues {
            runtime.block_on(queue.measure());
        }
    }
    println!(
        "{:>10}  {:>10}  {:>6}  {:>14}  {:>6}",
        "waiting", "messages/s", "ratio", "µs of CPU each", "ratio"
    );
    let mut first = None;
    for queue in &mut queues {
        let (rate, cost) = (middle(&mut queue.rates), middle(&mut queue.costs));
        let (first_rate, first_cost) = *first.get_or_insert((rate, cost));
        println!(
            "{:>10}  {rate:>10.0}  {:>6.2}  {cost:>14.1}  {:>6.2}",
            queue.waiting,
            rate / first_rate,
            cost / first_cost
        );
    }
}

/// A queue in which `waiting` messages stay, and what each round measured.
struct Filled {
    queue: Queue,
    waiting: usize,
    /// Messages a second.
    rates: Vec<f64>,
    /// Microseconds of processor time a message, background work included: what else runs on the machine moves it less.
    costs: Vec<f64>,
    _folder: TempDir,
}

impl Filled {
    /// Lets messages pass through the queue.
    async fn measure(&mut self) {
        let (start, spent) = (Instant::now(), processor_time());
        pass(&self.queue, PASSING, State::Delivered).await;
        self.rates
            .push(PASSING as f64 / start.elapsed().as_secs_f64());
        let spent = processor_time() - spent;
        self.costs.push(spent / PASSING as f64 * 1e6);
    }
}

/// Seconds that this process has spent, in all its threads.
fn processor_time() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

fn middle(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A queue for each number. All are there at once, so that whatever else the machine does meets them alike.
async fn fill(waiting: &[usize]) -> Vec<Filled> {
    let mut queues = Vec::new();
    for &waiting in waiting {
        let folder = TempDir::new().unwrap();
        let queue = Queue::open(&Options {
            dirpath: folder.path().to_owned(),
            schedule: Schedule {
                retry_min: Duration::from_secs(24 * 3600),
                retry_max: Duration::from_secs(48 * 3600),
                lifetime: Duration::from_secs(480 * 3600),
                warn_after: Duration::from_secs(480 * 3600),
                attempts_max: None,
            },
        })
        .unwrap();
        pass(&queue, waiting, State::Deferred).await;
        queues.push(Filled {
            queue,
            waiting,
            rates: Vec::new(),
            costs: Vec::new(),
            _folder: folder,
        });
    }
    // What the disk still has to write of all this is not the price of the messages to come.
    nix::unistd::sync();
    queues
}

/// Commits `messages` from many tasks, while as many take them and record `state`.
async fn pass(queue: &Queue, messages: usize, state: State) {
    let mut tasks = JoinSet::new();
    for client in 0..CLIENTS {
        let share = messages / CLIENTS + usize::from(client < messages % CLIENTS);
        let sender = queue.clone();
        tasks.spawn(async move {
            for _ in 0..share {
                commit(&sender).await;
            }
        });
        let taker = queue.clone();
        tasks.spawn(async move {
            for _ in 0..share {
                let entry = taker.next_due().await;
                let outcome = Outcome { index: 0, state };
                taker.settle(&entry, &[outcome]).await.unwrap();
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

async fn commit(queue: &Queue) {
    let address: Address = "jane@example.com".parse().unwrap();
    let envelope = Envelope {
        reverse_path: ReversePath(Some(address.clone())),
        recipients: vec![address.into()],
        ..Envelope::default()
    };
    let mut draft = queue.draft(queue.next_id());
    draft.append(&[b'x'; SIZE]).await.unwrap();
    queue.commit(draft, String::new(), envelope).await.unwrap();
}
