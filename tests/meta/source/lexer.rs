//! Tokens of a Rust source. Comments are left out; what a string holds is kept for `#[path = ".."]` alone.

/// One token and the line it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) lexeme: Lexeme,
    pub(crate) line: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lexeme {
    /// An identifier or a keyword.
    Word(String),
    /// `::`
    Join,
    /// A string, character or number, as it is written.
    Literal(String),
    /// Any other character that is no space.
    Other(char),
}

impl Token {
    pub(crate) fn is(&self, char: char) -> bool {
        self.lexeme == Lexeme::Other(char)
    }

    pub(crate) fn word(&self) -> Option<&str> {
        match &self.lexeme {
            Lexeme::Word(word) => Some(word),
            Lexeme::Join | Lexeme::Literal(_) | Lexeme::Other(_) => None,
        }
    }
}

pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let chars: Vec<char> = text.chars().collect();
    let (mut found, mut at, mut line) = (Vec::new(), 0, 1);
    while at < chars.len() {
        let (char, next) = (chars[at], chars.get(at + 1).copied().unwrap_or(' '));
        let start = at;
        let mut lexeme = None;
        if char == '/' && next == '/' {
            at = until(&chars, at, |rest| rest[0] == '\n');
        } else if char == '/' && next == '*' {
            at = until(&chars, at + 2, |rest| rest.starts_with(&['*', '/'])) + 2;
        } else if let Some(end) = literal(&chars, at) {
            at = end;
            lexeme = Some(Lexeme::Literal(chars[start..at.min(chars.len())].iter().collect()));
        } else if char == '\'' && (next.is_alphabetic() || next == '_') {
            // A lifetime names nothing.
            at = until(&chars, at + 1, |rest| !is_in_word(rest[0]));
        } else if char.is_alphabetic() || char == '_' {
            at = until(&chars, at, |rest| !is_in_word(rest[0]));
            lexeme = Some(Lexeme::Word(chars[start..at].iter().collect()));
        } else if char.is_ascii_digit() {
            at = until(&chars, at, |rest| !is_in_word(rest[0]));
            lexeme = Some(Lexeme::Literal(chars[start..at].iter().collect()));
        } else if char == ':' && next == ':' {
            at += 2;
            lexeme = Some(Lexeme::Join);
        } else {
            at += 1;
            lexeme = (!char.is_whitespace()).then_some(Lexeme::Other(char));
        }
        found.extend(lexeme.map(|lexeme| Token { lexeme, line }));
        line += chars[start..at.min(chars.len())].iter().filter(|c| **c == '\n').count();
    }
    found
}

fn is_in_word(char: char) -> bool {
    char.is_alphanumeric() || char == '_'
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

/// Where the group that opens at `open` closes: the place of its bracket.
pub(crate) fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.lexeme {
            Lexeme::Other('(' | '[' | '{') => depth += 1,
            Lexeme::Other(')' | ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    tokens.len() - 1
}
