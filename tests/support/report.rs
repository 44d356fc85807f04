//! Delivery reports, read by a parser that somebody else wrote: the `email` package of Python.

use super::program::run;
use std::process::Command;

/// Reads a report from standard input, and prints what makes it one: the media types of its parts, the groups of fields,
/// and how the third part begins and ends.
const SCRIPT: &str = r#"
import sys, email, email.policy
message = email.message_from_bytes(sys.stdin.buffer.read(), policy=email.policy.SMTPUTF8)
assert not message.defects, message.defects
assert message.get_content_type() == "multipart/report", message.get_content_type()
assert message.get_param("report-type") == "delivery-status"
assert message["Auto-Submitted"].startswith("auto-"), message["Auto-Submitted"]
for name in ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version"]:
    assert len(message.get_all(name)) == 1, name
human, machine, returned = message.get_payload()
print("subject:", message["Subject"])
print("types:", *[part.get_content_type() for part in (human, machine, returned)])
assert human.get_content().strip()
if machine.get_content_type() == "message/delivery-status":
    groups = machine.get_payload()
else:
    # RFC 6533 is younger than the parser.
    octets = machine.get_payload(decode=True) or machine.get_payload(0).as_bytes()
    blocks = [block for block in octets.replace(b"\r\n", b"\n").split(b"\n\n") if block.strip()]
    groups = [email.message_from_bytes(block, policy=email.policy.SMTPUTF8) for block in blocks]
for number, group in enumerate(group for group in groups if group.keys()):
    assert not group.defects, group.defects
    for name, value in group.items():
        print(number, f"{name.lower()}:", " ".join(str(value).split()))
payload = returned.get_payload()
text = payload if isinstance(payload, str) else payload[0].as_string()
print("returned:", " ".join(text.split()))
"#;

/// What the report says, a fact a line; fails the test unless it is a report (RFC 3464, RFC 6522, RFC 6533).
pub fn read_report(report: &[u8]) -> String {
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]);
    let report = String::from_utf8(report.to_vec()).unwrap();
    run(&mut python, &report).success()
}
