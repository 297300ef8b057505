//! Which paths a Rust source names, in its `use` trees and anywhere else.
//!
//! Comments and the contents of strings and character literals name nothing. What a macro of another crate expands to
//! is not seen.

use super::lexer::{Lexeme, Token, tokens};

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

/// One leaf of a `use` tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Import {
    /// As it is written: `self` and `super` stay.
    pub(crate) segments: Vec<String>,
    /// What it is called here; nothing for `*`.
    pub(crate) name: Option<String>,
    /// The line, from 1.
    pub(crate) line: usize,
}

/// Every path in `text`, a source whose module is `module` (`crate::role::leader`).
pub(crate) fn paths(text: &str, module: &[String]) -> Vec<Named> {
    let tokens = tokens(text);
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        match tokens[at].word() {
            Some("use") if is_use(&tokens, at) => {
                let (imports, end) = use_tree(&tokens, at + 1);
                let named = |Import { segments, line, .. }| Named { segments, line, imported: true };
                found.extend(imports.into_iter().map(named));
                at = end;
            }
            // A declaration names nothing else.
            Some("mod") => at += 2,
            Some(_) => {
                let (segments, next) = segments(&tokens, at);
                found.push(Named { segments, line: tokens[at].line, imported: false });
                at = next;
            }
            None => at += 1,
        }
    }
    for named in &mut found {
        absolute(&mut named.segments, module);
    }
    found
}

/// Whether the `use` at `at` begins a declaration: `use<'a>` in a type captures lifetimes.
pub(crate) fn is_use(tokens: &[Token], at: usize) -> bool {
    !tokens.get(at + 1).is_some_and(|token| token.is('<'))
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

/// The path that begins with the word at `at`, and where it ends.
pub(crate) fn segments(tokens: &[Token], mut at: usize) -> (Vec<String>, usize) {
    let mut segments = Vec::new();
    while let Some(word) = tokens.get(at).and_then(Token::word) {
        segments.push(word.to_owned());
        at += 1;
        let joined = tokens.get(at).is_some_and(|token| token.lexeme == Lexeme::Join);
        if !joined || tokens.get(at + 1).and_then(Token::word).is_none() {
            break;
        }
        at += 1;
    }
    (segments, at)
}

/// The leaves of the `use` tree at `at`, and where it ends.
pub(crate) fn use_tree(tokens: &[Token], at: usize) -> (Vec<Import>, usize) {
    let mut found = Vec::new();
    let end = tree(tokens, at, &[], &mut found);
    (found, end)
}

fn tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<Import>) -> usize {
    let is_join = |at: usize| tokens.get(at).is_some_and(|token| token.lexeme == Lexeme::Join);
    at += usize::from(is_join(at));
    let line = tokens.get(at).map_or(0, |token| token.line);
    let (words, mut at) = segments(tokens, at);
    let mut path: Vec<String> = prefix.to_vec();
    path.extend(words.into_iter().filter(|word| word != "self" || prefix.is_empty()));
    at += usize::from(is_join(at));
    let mut name = path.last().cloned();
    match tokens.get(at) {
        Some(token) if token.is('{') => {
            at += 1;
            while let Some(token) = tokens.get(at) {
                match token.lexeme {
                    Lexeme::Other('}') => return at + 1,
                    Lexeme::Other(',') => at += 1,
                    Lexeme::Word(_) | Lexeme::Join | Lexeme::Other('*' | '{') => {
                        at = tree(tokens, at, &path, found);
                    }
                    Lexeme::Other(_) | Lexeme::Literal(_) => return at,
                }
            }
            return at;
        }
        Some(token) if token.is('*') => {
            name = None;
            at += 1;
        }
        Some(token) if token.word() == Some("as") => {
            name = tokens.get(at + 1).and_then(Token::word).map(str::to_owned);
            at += 2;
        }
        _ => {}
    }
    found.push(Import { segments: path, name, line });
    at
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
