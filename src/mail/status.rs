//! Enhanced status codes (RFC 3463).

use std::fmt;

/// `class.subject.detail`, as in `5.7.1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// 2 success, 4 persistent transient failure, 5 permanent failure.
    pub class: u8,
    /// What the status is about: 1 addressing, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// The precise condition within the subject.
    pub detail: u16,
}

impl Status {
    /// The three numbers in the order in which they are written.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self {
            class,
            subject,
            detail,
        }
    }

    /// Reads `5.7.1`: class 2, 4 or 5, then two numbers of one to three digits (RFC 3463 §2).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = parts.next()?;
        let numbers = [parts.next()?, parts.next()?];
        let well_formed =
            |part: &str| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
        if parts.next().is_some()
            || !matches!(class, "2" | "4" | "5")
            || !numbers.iter().all(|n| well_formed(n))
        {
            return None;
        }
        let [subject, detail] = numbers;
        Some(Self {
            class: class.parse().ok()?,
            subject: subject.parse().ok()?,
            detail: detail.parse().ok()?,
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::Status;

    #[test]
    fn reads_what_it_writes_and_nothing_else() {
        assert_eq!(Status::parse("5.7.1"), Some(Status::new(5, 7, 1)));
        assert_eq!(Status::new(4, 3, 0).to_string(), "4.3.0");
        for bad in [
            "", "5", "5.7", "5.7.1.1", "3.7.1", "5.7.", "5.+7.1", "5.7.1000", "55.7.1",
        ] {
            assert_eq!(Status::parse(bad), None, "{bad}");
        }
    }
}
