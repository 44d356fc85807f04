//! `is`, `is not`, `not` and `not in`, which operators write and Rhai spells `==`, `!=`, `!` and `!in`.
//!
//! The words are replaced before the text is compiled, each in its own place and by as many characters, so that every
//! position stays true. Strings and comments keep theirs: it is tokens that are looked at, not text.

use rhai::{Engine, Position, Token};
use std::borrow::Cow;

/// `text` in Rhai's own spelling.
pub(super) fn spell<'a>(engine: &Engine, text: &'a str) -> Cow<'a, str> {
    if !text.contains("is") && !text.contains("not") {
        return Cow::Borrowed(text);
    }
    let tokens = tokens(engine, text);
    let mut edits = Vec::new();
    let mut before = None;
    for (index, (token, position)) in tokens.iter().enumerate() {
        let after = tokens.get(index + 1).map(|(token, _)| token);
        let replacement = match word(token) {
            Some("is") if after.and_then(word) == Some("not") => Some("!="),
            Some("is") => Some("=="),
            Some("not") if before.and_then(word) == Some("is") => Some("   "),
            Some("not") if after == Some(&Token::In) && before.is_some_and(ends_operand) => {
                Some("!in")
            }
            Some("not") if before != Some(&Token::Fn) && after.is_some_and(begins_operand) => {
                Some("!  ")
            }
            _ if *token == Token::In && before.and_then(word) == Some("not") => Some("  "),
            _ => None,
        };
        if let Some(replacement) = replacement {
            edits.push((*position, replacement));
        }
        before = Some(token);
    }
    Cow::Owned(edited(text, &edits))
}

/// The tokens of `text`, up to the first that is none.
fn tokens(engine: &Engine, text: &str) -> Vec<(Token, Position)> {
    let (stream, control) = engine.lex([&text]);
    let mut tokens = Vec::new();
    // Whether each open brace is one of `${`, after which the string goes on.
    let mut braces = Vec::new();
    for (token, position) in stream {
        match token {
            Token::EOF | Token::LexError(_) => break,
            Token::LeftBrace | Token::MapStart => {
                let last = tokens.last().map(|(token, _)| token);
                braces.push(matches!(last, Some(Token::InterpolatedString(_))));
            }
            Token::RightBrace if braces.pop() == Some(true) => {
                control.borrow_mut().is_within_text = true;
            }
            _ => {}
        }
        tokens.push((token, position));
    }
    tokens
}

fn word(token: &Token) -> Option<&str> {
    match token {
        Token::Identifier(word) | Token::Reserved(word) => {
            Some(word.as_str()).filter(|word| matches!(*word, "is" | "not"))
        }
        _ => None,
    }
}

/// `()` is one token, also after the name of a function.
fn ends_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Identifier(_)
            | Token::Unit
            | Token::StringConstant(_)
            | Token::IntegerConstant(_)
            | Token::CharConstant(_)
            | Token::True
            | Token::False
            | Token::RightParen
            | Token::RightBracket
            | Token::RightBrace
    )
}

fn begins_operand(token: &Token) -> bool {
    matches!(
        token,
        Token::Identifier(_)
            | Token::StringConstant(_)
            | Token::True
            | Token::False
            | Token::LeftParen
            | Token::Bang
    )
}

/// `text` with each replacement at its position, over as many characters.
fn edited(text: &str, edits: &[(Position, &str)]) -> String {
    let mut lines: Vec<Vec<char>> = text
        .split('\n')
        .map(|line| line.chars().collect())
        .collect();
    for (position, replacement) in edits {
        let (Some(line), Some(column)) = (position.line(), position.position()) else {
            continue;
        };
        let line = line.checked_sub(1).and_then(|line| lines.get_mut(line));
        let characters = line.into_iter().flatten().skip(column.saturating_sub(1));
        for (character, new) in characters.zip(replacement.chars()) {
            *character = new;
        }
    }
    let lines: Vec<String> = lines.into_iter().map(String::from_iter).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_operators_of_the_same_width() {
        for (text, expected) in [
            ("a is b", "a == b"),
            ("a is not b", "a !=     b"),
            ("a not in b", "a !in    b"),
            ("a() not in b()", "a() !in    b()"),
            ("f(x)\n  not in [y]", "f(x)\n  !in    [y]"),
            ("if not a::b() { }", "if !   a::b() { }"),
            ("not (a in b)", "!   (a in b)"),
            ("a && not b", "a && !   b"),
            (
                "\"this is not in\" // is not",
                "\"this is not in\" // is not",
            ),
            (
                "`is ${a is b} is not ${#{is_x: `${c} not in d`}} is`",
                "`is ${a == b} is not ${#{is_x: `${c} not in d`}} is`",
            ),
            ("\"é\" is 'x' is not 3", "\"é\" == 'x' !=     3"),
            ("let this_is = 1; notice", "let this_is = 1; notice"),
            ("#{ not: 1 }.not", "#{ not: 1 }.not"),
            ("let not = 1; not + 1", "let not = 1; not + 1"),
            ("fn not(x) { !x }", "fn not(x) { !x }"),
        ] {
            assert_eq!(spell(&Engine::new_raw(), text), expected);
        }
    }
}
