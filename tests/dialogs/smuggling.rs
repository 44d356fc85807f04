//! SMTP smuggling (CVE-2023-51764, -51765, -51766): ends of data that are none, in every spelling, with commands behind
//! them. None of the commands may ever be run, and no reply may come before the true end.

use super::dialogue::Dialogue;

/// What stands for a line end, before and behind the dot.
const LINE_ENDS: [&str; 11] = [
    "\r\n", "\n", "\r", "\n\n", "\r\r", "\n\r", "\r\r\n", "\r\n\n", "\r\n\0", "\r\0\n", "\0\r\n",
];

/// What else might be taken for an end of data.
const NEARLY: [&str; 5] = [
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\r\n. \r\n",
    "\r\n..\r\n",
    "\r\n.\r\0\n",
];

/// One dialogue for each spelling.
pub fn dialogues() -> Vec<Dialogue> {
    let spellings = LINE_ENDS
        .into_iter()
        .flat_map(|before| LINE_ENDS.map(|behind| [before, ".", behind].concat()));
    spellings
        .chain(NEARLY.map(str::to_owned))
        .filter(|end| !end.contains("\r\n.\r\n"))
        .map(|end| dialogue(&end))
        .collect()
}

fn dialogue(end: &str) -> Dialogue {
    let content = format!("Subject: a\r\n\r\nb{end}");
    let commands =
        "MAIL FROM:<boss@example.org>\r\nRCPT TO:<jones@example.com>\r\nDATA\r\nsmuggled";
    // Once each CRLF is gone, what is left of CR and LF is bare.
    let is_bare = format!("{content}{commands}")
        .replace("\r\n", "")
        .contains(['\r', '\n']);
    let verdict = match is_bare {
        true => "550 5.6.11 *",
        false => "250 2.0.0 *",
    };
    let name = format!("smuggling{}", escaped(end).replace('\\', "-"));
    let text = [
        "S: 220 mx.example.com ESMTP",
        "C: EHLO client.example.org",
        "S: 250...",
        "C: MAIL FROM:<smith@example.org>",
        "S: 250 2.1.0 *",
        "C: RCPT TO:<brown@example.com>",
        "S: 250 2.1.5 *",
        "C: DATA",
        "S: 354 *",
        &format!("C\\: {}", escaped(&content)),
        "S: <silence>",
        &format!("C\\: {}", escaped(commands)),
        "S: <silence>",
        "C\\: \\r\\n.\\r\\n",
        &format!("S: {verdict}"),
        "C: RCPT TO:<jones@example.com>",
        "S: 503 5.5.1 *",
        "C: QUIT",
        "S: 221 *",
        "S: <close>",
    ];
    Dialogue::parse(&name, &text.join("\n"))
}

fn escaped(text: &str) -> String {
    text.replace('\r', "\\r")
        .replace('\n', "\\n")
        .replace('\0', "\\0")
}
