//! Who waits, by destination and age, in the table that qshape(1) of Postfix has taught operators to read.

use super::output::{Output, progress};
use super::{Failure, account, open, text};
use jiff::Timestamp;
use serde_json::json;
use std::collections::HashMap;
use std::fmt::Write;
use vsmtp::control::{Answer, Message, Place, Request, Summary, Target};

/// Each column counts those who wait for less than so many minutes, and for as long as the column before it says; the
/// last one counts the others.
const AGES: [u64; 9] = [5, 10, 20, 40, 80, 160, 320, 640, 1280];
/// Destinations that are told apart. More of them in one queue are an attack, which the row of the others shows as well.
const DESTINATIONS_MAX: usize = 100_000;
/// The row of the destinations that are one too many.
const OTHERS: &str = "(others)";

/// Counts of one row: by age, and of all ages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    ages: [u64; AGES.len() + 1],
    total: u64,
}

/// The table.
#[derive(Debug, Default)]
struct Table {
    all: Row,
    destinations: HashMap<String, Row>,
}

pub(super) fn stats(
    place: &Place,
    targets: Vec<Target>,
    rows: usize,
    json: bool,
) -> Result<(), Failure> {
    let mut table = Table::default();
    let (mut done, now) = (Summary::default(), Timestamp::now());
    let access = open(place)?;
    let mut output = Output::of(&access)?;
    access.ask(&Request::List { targets }, &mut |answer| {
        match answer {
            Answer::Message(message) => table.add(&message, now),
            Answer::Progress(summary) => progress(&summary),
            Answer::Done(summary) => done = summary,
            _ => {}
        }
        Ok(())
    })?;
    match json {
        true => output.json(&table.json())?,
        false => output.line(table.text(rows))?,
    }
    output.finish()?;
    account(&done)
}

impl Table {
    fn add(&mut self, message: &Message, now: Timestamp) {
        let age = now.duration_since(message.arrived).as_secs().max(0) as u64 / 60;
        let column = AGES.partition_point(|most| *most <= age);
        for recipient in &message.recipients {
            let domain = recipient.address.rsplit('@').next().unwrap_or_default();
            let mut name = domain.to_ascii_lowercase();
            if self.destinations.len() >= DESTINATIONS_MAX && !self.destinations.contains_key(&name)
            {
                OTHERS.clone_into(&mut name);
            }
            for row in [&mut self.all, self.destinations.entry(name).or_default()] {
                row.total += 1;
                if let Some(count) = row.ages.get_mut(column) {
                    *count += 1;
                }
            }
        }
    }

    /// The destinations that most wait for, first.
    fn sorted(&self) -> Vec<(&str, Row)> {
        let rows = self.destinations.iter();
        let mut rows: Vec<_> = rows.map(|(name, row)| (name.as_str(), *row)).collect();
        rows.sort_by(|a, b| b.1.total.cmp(&a.1.total).then(a.0.cmp(b.0)));
        rows
    }

    fn text(&self, most: usize) -> String {
        let sorted = self.sorted();
        let rows = sorted.iter().take(most).copied();
        let rows: Vec<(&str, Row)> = std::iter::once(("TOTAL", self.all)).chain(rows).collect();
        let widest = rows.iter().map(|(name, _)| name.chars().count()).max();
        let width = widest.unwrap_or_default().max(20);
        let cell = self.all.total.to_string().len().max(5);
        let mut text = format!("{:width$} {:>cell$}", "", "T");
        for age in AGES {
            let _ = write!(text, " {age:>cell$}");
        }
        let last = format!("{}+", AGES.last().copied().unwrap_or_default());
        let _ = write!(text, " {last:>cell$}");
        for (name, row) in &rows {
            let _ = write!(
                text,
                "\n{:>width$} {:>cell$}",
                text::printable(name),
                row.total
            );
            for count in row.ages {
                let _ = write!(text, " {count:>cell$}");
            }
        }
        let more = sorted.len().saturating_sub(most);
        if more > 0 {
            let _ = write!(text, "\nand {}", text::count(more as u64, "destination"));
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        let row = |name: &str, row: Row| json!({ "domain": name, "recipients": row.total, "ages": row.ages });
        let sorted = self.sorted();
        let rows: Vec<_> = sorted
            .into_iter()
            .map(|(name, counts)| row(name, counts))
            .collect();
        json!({
            "minutes": AGES,
            "recipients": self.all.total,
            "ages": self.all.ages,
            "destinations": rows,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Table;
    use jiff::Timestamp;
    use vsmtp::control::{Message, State, Waiting};

    #[test]
    fn counts_by_destination_and_age() {
        let mut table = Table::default();
        let now = Timestamp::from_second(1_000_000).unwrap();
        for (minutes, to) in [
            (0, "a@one.org, b@ONE.org"),
            (5, "a@one.org"),
            (1279, "a@two.org"),
            (1280, "a@two.org, a@one.org"),
            (-7, "a@[192.0.2.1]"),
        ] {
            let waiting = |address: &str| Waiting {
                address: address.to_owned(),
                state: State::Due,
                attempts: 0,
                next: None,
                quarantine: None,
                error: None,
            };
            let message = Message {
                arrived: Timestamp::from_second(1_000_000 - minutes * 60).unwrap(),
                recipients: to.split(", ").map(waiting).collect(),
                ..Message::default()
            };
            table.add(&message, now);
        }
        let text = table.text(2);
        let lines: Vec<_> = text
            .lines()
            .map(str::split_whitespace)
            .map(Vec::from_iter)
            .collect();
        assert_eq!(
            lines,
            [
                "T 5 10 20 40 80 160 320 640 1280 1280+",
                "TOTAL 7 3 1 0 0 0 0 0 0 1 2",
                "one.org 4 2 1 0 0 0 0 0 0 0 1",
                "two.org 2 0 0 0 0 0 0 0 0 1 1",
                "and 1 destination",
            ]
            .map(|line| line.split(' ').collect::<Vec<_>>())
        );
        assert!(
            text.lines().take(4).all(|line| line.len() == 20 + 11 * 6),
            "{text}"
        );
        let json = table.json();
        assert_eq!(json["destinations"][2]["domain"], "[192.0.2.1]");
        assert_eq!(json["recipients"], 7);
    }
}
