//! Which paths a Rust source names: a tokeniser and a flattener of `use` trees, enough to see an arrow between modules.
//!
//! Comments and the contents of strings and character literals name nothing. What a macro of another crate expands to
//! is not seen.

/// A path as the source names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// Its segments; `crate::..` where it was `self` or `super`.
    pub(crate) segments: Vec<String>,
    /// The line, from 1.
    pub(crate) line: usize,
    /// Whether a `use` brought it: then naming a module is enough to reach all inside.
    pub(crate) imported: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Join,
    Other(char),
}

/// Every path in `text`, a source whose module is `module` (`crate::role::leader`).
pub(crate) fn paths(text: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(text);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let opens_capture = matches!(tokens.get(at + 1), Some((_, Token::Other('<'))));
        match &tokens[at].1 {
            Token::Word(word) if word == "use" && !opens_capture => {
                at = tree(&tokens, at + 1, &[], &mut found);
            }
            // A declaration names nothing else.
            Token::Word(word) if word == "mod" => at += 2,
            Token::Word(_) => {
                let (segments, next) = segments(&tokens, at);
                found.push(Named { segments, line: tokens[at].0, imported: false });
                at = next;
            }
            Token::Join | Token::Other(_) => at += 1,
        }
    }
    for named in &mut found {
        absolute(&mut named.segments, module);
    }
    found
}

/// `self` and `super` at the beginning become `crate::..`.
fn absolute(segments: &mut Vec<String>, module: &[String]) {
    let ups = segments.iter().take_while(|word| *word == "super").count();
    let here = segments.first().is_some_and(|word| word == "self") && segments.len() > 1;
    if ups == 0 && !here {
        return;
    }
    let keep = module.len().saturating_sub(ups).max(1);
    let rest = segments.split_off(ups.max(usize::from(here)));
    *segments = module[..keep].iter().cloned().chain(rest).collect();
}

fn segments(tokens: &[(usize, Token)], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some((_, Token::Word(word))) = tokens.get(at) {
        segments.push(word.clone());
        at += 1;
        match (tokens.get(at), tokens.get(at + 1)) {
            (Some((_, Token::Join)), Some((_, Token::Word(_)))) => at += 1,
            _ => break,
        }
    }
    (segments, at)
}

/// One `use` tree from `at`; returns where it ends.
fn tree(tokens: &[(usize, Token)], mut at: usize, prefix: &[String], found: &mut Vec<Named>) -> usize {
    if matches!(tokens.get(at), Some((_, Token::Join))) {
        at += 1;
    }
    let line = tokens.get(at).map_or(0, |(line, _)| *line);
    let (words, next) = segments(tokens, at);
    let mut path: Vec<String> = prefix.to_vec();
    path.extend(words.into_iter().filter(|word| word != "self" || prefix.is_empty()));
    at = next;
    if matches!(tokens.get(at), Some((_, Token::Join))) {
        at += 1;
    }
    match tokens.get(at) {
        Some((_, Token::Other('{'))) => {
            at += 1;
            while let Some((_, token)) = tokens.get(at) {
                match token {
                    Token::Other('}') => return at + 1,
                    Token::Other(',') => at += 1,
                    Token::Word(_) | Token::Join | Token::Other('*' | '{') => {
                        at = tree(tokens, at, &path, found);
                    }
                    Token::Other(_) => return at,
                }
            }
            return at;
        }
        Some((_, Token::Other('*'))) => at += 1,
        Some((_, Token::Word(word))) if word == "as" => at += 2,
        _ => {}
    }
    found.push(Named { segments: path, line, imported: true });
    at
}

fn tokens(text: &str) -> Vec<(usize, Token)> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let (char, next) = (chars[at], chars.get(at + 1).copied().unwrap_or(' '));
        let start = at;
        let mut token = None;
        if char == '/' && next == '/' {
            at = until(&chars, at, |rest| rest[0] == '\n');
        } else if char == '/' && next == '*' {
            at = until(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2;
        } else if let Some(end) = literal(&chars, at) {
            at = end;
        } else if char.is_alphabetic() || char == '_' {
            at = until(&chars, at, |rest| !rest[0].is_alphanumeric() && rest[0] != '_');
            token = Some(Token::Word(chars[start..at].iter().collect()));
        } else if char.is_ascii_digit() {
            at = until(&chars, at, |rest| !rest[0].is_alphanumeric() && rest[0] != '_');
        } else if char == ':' && next == ':' {
            at += 2;
            token = Some(Token::Join);
        } else {
            at += 1;
            token = (!char.is_whitespace()).then_some(Token::Other(char));
        }
        found.extend(token.map(|token| (line, token)));
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

/// The end of the string or character literal that begins at `at`, if one does.
fn literal(chars: &[char], at: usize) -> Option<usize> {
    let mut open = at;
    while open < at + 2 && matches!(chars.get(open), Some('b' | 'r' | 'c')) {
        open += 1;
    }
    let hashes = chars[open..].iter().take_while(|c| **c == '#').count();
    let raw = chars[at..open].contains(&'r');
    if raw && chars.get(open + hashes) == Some(&'"') {
        let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
        return Some(until(chars, open + hashes + 1, |rest| rest.starts_with(&close)) + close.len());
    }
    match chars.get(open)? {
        '"' if !raw => Some(quoted(chars, open, '"')),
        // `'a` alone is a lifetime.
        '\'' if chars.get(open + 1) == Some(&'\\') || chars.get(open + 2) == Some(&'\'') => {
            Some(quoted(chars, open, '\''))
        }
        _ => None,
    }
}

fn quoted(chars: &[char], open: usize, quote: char) -> usize {
    let mut at = open + 1;
    while at < chars.len() && chars[at] != quote {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    at + 1
}

fn until(chars: &[char], from: usize, end: impl Fn(&[char]) -> bool) -> usize {
    (from..chars.len()).find(|at| end(&chars[*at..])).unwrap_or(chars.len())
}

/// `src/role/leader.rs` is `crate::role::leader`; `lib.rs`, `main.rs` and `mod.rs` are their directory.
pub(crate) fn module_of(path_in_src: &str) -> Vec<String> {
    let words = path_in_src.trim_end_matches(".rs").split('/');
    let inner = words.filter(|word| !matches!(*word, "lib" | "main" | "mod"));
    std::iter::once("crate").chain(inner).map(str::to_owned).collect()
}

#[test]
fn every_way_to_name_a_path_is_seen() {
    let text = r##"
        //! use a::comment;
        use std::{fs, time::{self, Duration, Instant as Now}, collections::*};
        use super::store::StoreMessage;
        /* use b::comment; */
        fn f<'a>(x: &'a str) -> impl Sized + use<'a> { let c = 'c'; ::tokio::spawn("no::string \" no::more"); r#"no::raw"# }
        pub(crate) use self::inner::{X};
    "##;
    let module = module_of("role/leader.rs");
    let found: Vec<String> = paths(text, &module).iter().map(|named| named.segments.join("::")).collect();
    for wanted in [
        "std::fs",
        "std::time",
        "std::time::Duration",
        "std::time::Instant",
        "std::collections",
        "crate::role::store::StoreMessage",
        "tokio::spawn",
        "crate::role::leader::inner::X",
    ] {
        assert!(found.iter().any(|path| path == wanted), "{wanted} is not in {found:?}");
    }
    assert!(!found.iter().any(|path| path.contains("comment") || path.contains("no")), "{found:?}");
}

#[test]
fn lines_are_counted() {
    let found = paths("\n/* a\nb */ \"x\ny\"\nuse a::b;", &module_of("lib.rs"));
    assert_eq!((found[0].line, found[0].imported), (5, true));
}
