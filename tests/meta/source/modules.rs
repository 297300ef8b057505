//! The modules of one target: what each defines, imports and names. `#[cfg(test)]` is told apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::lexer::{Lexeme, Token, closing, tokens};
use super::paths::{Import, is_use, segments, use_tree};

/// A module of a target.
#[derive(Debug)]
pub(crate) struct Module {
    /// The file it stands in.
    pub(crate) file: PathBuf,
    /// The module that declares it; the root has none.
    pub(crate) parent: Option<usize>,
    /// Modules inside, by name.
    pub(crate) children: BTreeMap<String, usize>,
    /// Whether it is compiled for tests alone.
    pub(crate) is_test: bool,
    /// Names it defines, with the line of each.
    pub(crate) items: BTreeMap<String, usize>,
    /// Words in the macros that are called beside its items: they may define names.
    pub(crate) made: BTreeMap<String, usize>,
    /// Its `use` declarations, those inside functions as well.
    pub(crate) imports: Vec<(Import, Use)>,
    /// Paths that its items name.
    pub(crate) named: Vec<Named>,
    /// Functions with a body, and of how many lines each is.
    pub(crate) functions: Vec<(String, usize, usize)>,
}

/// What a `use` is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    /// Passed on: `pub use`, with any visibility.
    Export,
    /// Used here.
    Here,
}

/// A path in an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) segments: Vec<String>,
    pub(crate) line: usize,
    /// Whether it stands where a local name could: a lower-case word that is neither called nor passed.
    pub(crate) may_be_local: bool,
}

/// A target: all its modules, of which the first is the root.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) modules: Vec<Module>,
    /// Lines of each file that are compiled for tests alone.
    pub(crate) test_lines: BTreeMap<PathBuf, BTreeSet<usize>>,
    /// Lines of each file.
    pub(crate) lines: BTreeMap<PathBuf, usize>,
    /// `#[path = ".."]` attributes: file and line.
    pub(crate) path_attributes: Vec<(PathBuf, usize)>,
}

/// What stands before an item.
#[derive(Debug, Default)]
struct Before {
    is_test: bool,
    path: Option<String>,
    is_public: bool,
}

impl Target {
    /// Reads a target from its root file on.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut all = Self::default();
        all.read_file(root, None, false, root.parent().context("a file is in a directory")?)?;
        Ok(all)
    }

    /// A target of files that are given as text; the first is its root.
    pub(crate) fn of_text(files: &[(&str, &str)]) -> Result<Self> {
        let directory = tempfile::tempdir()?;
        for (name, text) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().context("it is in the directory")?)?;
            fs::write(path, text)?;
        }
        Self::read(&directory.path().join(files[0].0))
    }

    /// Reads a file as a module; files of modules inside are looked for in `directory`.
    fn read_file(
        &mut self,
        file: &Path,
        parent: Option<usize>,
        is_test: bool,
        directory: &Path,
    ) -> Result<usize> {
        let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let tokens = tokens(&text);
        let lines = text.lines().count();
        self.lines.insert(file.to_owned(), lines);
        if is_test {
            self.test_lines.entry(file.to_owned()).or_default().extend(1..=lines);
        }
        let id = self.add(file, parent, is_test);
        self.read_items(&tokens, id, directory)?;
        Ok(id)
    }

    fn add(&mut self, file: &Path, parent: Option<usize>, is_test: bool) -> usize {
        self.modules.push(Module {
            file: file.to_owned(),
            parent,
            children: BTreeMap::new(),
            is_test,
            items: BTreeMap::new(),
            made: BTreeMap::new(),
            imports: Vec::new(),
            named: Vec::new(),
            functions: Vec::new(),
        });
        self.modules.len() - 1
    }

    fn read_items(&mut self, tokens: &[Token], id: usize, directory: &Path) -> Result<()> {
        let mut at = 0;
        while at < tokens.len() {
            let start = at;
            let before = self.before(tokens, &mut at, id);
            let end = self.read_item(tokens, at, id, &before, directory)?;
            if before.is_test && !self.modules[id].is_test {
                let file = self.modules[id].file.clone();
                let last = tokens.get(end.saturating_sub(1)).map_or(0, |token| token.line);
                self.test_lines.entry(file).or_default().extend(tokens[start].line..=last);
            }
            at = end.max(start + 1);
        }
        Ok(())
    }

    /// Attributes and visibility.
    fn before(&mut self, tokens: &[Token], at: &mut usize, id: usize) -> Before {
        let mut before = Before::default();
        while let Some(token) = tokens.get(*at) {
            if token.is('#') {
                let inner = usize::from(tokens.get(*at + 1).is_some_and(|token| token.is('!')));
                let end = closing(tokens, *at + 1 + inner);
                let attribute = &tokens[*at + 1 + inner..end];
                before.is_test |= is_for_tests(attribute);
                if let [_, name, _, literal, ..] = attribute
                    && name.word() == Some("path")
                    && let Lexeme::Literal(path) = &literal.lexeme
                {
                    before.path = Some(path.trim_matches('"').to_owned());
                    self.path_attributes.push((self.modules[id].file.clone(), token.line));
                }
                if !before.is_test {
                    self.name_paths(attribute, id);
                }
                *at = end + 1;
            } else if token.word() == Some("pub") {
                before.is_public = true;
                *at += 1;
                if tokens.get(*at).is_some_and(|token| token.is('(')) {
                    *at = closing(tokens, *at) + 1;
                }
            } else {
                break;
            }
        }
        before
    }

    /// Reads the item at `at` and returns where it ends.
    fn read_item(
        &mut self,
        tokens: &[Token],
        at: usize,
        id: usize,
        before: &Before,
        directory: &Path,
    ) -> Result<usize> {
        let is_test = before.is_test || self.modules[id].is_test;
        let mut word = at;
        // `const fn`, `async fn`, `unsafe impl`, `extern "C" fn`.
        while let Some("async" | "unsafe" | "extern" | "default" | "const") =
            tokens.get(word).and_then(Token::word)
        {
            let next = tokens.get(word + 1);
            let is_qualifier = next.and_then(Token::word).is_some_and(|next| {
                matches!(next, "fn" | "unsafe" | "async" | "extern" | "impl" | "trait" | "mod" | "crate")
            }) || next.is_some_and(|next| matches!(next.lexeme, Lexeme::Literal(_)));
            if !is_qualifier {
                break;
            }
            word += 1 + usize::from(next.is_some_and(|next| matches!(next.lexeme, Lexeme::Literal(_))));
        }
        let name = tokens.get(word + 1).and_then(Token::word).map(str::to_owned);
        let Some(keyword) = tokens.get(word).and_then(Token::word) else { return Ok(at + 1) };
        match keyword {
            "mod" => return self.read_mod(tokens, word, id, before, is_test, directory),
            "use" => {
                let (imports, end) = use_tree(tokens, word + 1);
                if !before.is_test {
                    let purpose = if before.is_public { Use::Export } else { Use::Here };
                    self.modules[id].imports.extend(imports.into_iter().map(|import| (import, purpose)));
                }
                return Ok(end + 1);
            }
            _ => {}
        }
        let is_macro = tokens.get(word + 1).is_some_and(|token| token.is('!'));
        let end = end_of_item(tokens, word, keyword);
        if before.is_test {
            return Ok(end);
        }
        let line = tokens[word].line;
        match (keyword, name) {
            ("struct" | "enum" | "union" | "trait" | "type" | "static" | "fn" | "const", Some(name)) => {
                self.modules[id].items.insert(name, line);
            }
            ("macro_rules", _) => {
                if let Some(name) = tokens.get(word + 2).and_then(Token::word) {
                    self.modules[id].items.insert(format!("{name}!"), line);
                    self.modules[id].items.insert(name.to_owned(), line);
                }
            }
            (_, _) if is_macro => {
                let words =
                    tokens[word..end].iter().filter_map(|token| Some((token.word()?.to_owned(), token.line)));
                self.modules[id].made.extend(words);
            }
            _ => {}
        }
        self.name_paths(&tokens[word..end], id);
        self.find_functions(&tokens[word..end], id);
        Ok(end)
    }

    fn read_mod(
        &mut self,
        tokens: &[Token],
        at: usize,
        id: usize,
        before: &Before,
        is_test: bool,
        directory: &Path,
    ) -> Result<usize> {
        let name = tokens.get(at + 1).and_then(Token::word).context("a module has a name")?.to_owned();
        let file = self.modules[id].file.clone();
        if tokens.get(at + 2).is_some_and(|token| token.is('{')) {
            let end = closing(tokens, at + 2);
            let child = self.add(&file, Some(id), is_test);
            self.modules[id].children.insert(name.clone(), child);
            self.read_items(&tokens[at + 3..end], child, &directory.join(name))?;
            return Ok(end + 1);
        }
        let (of_file, below) = if let Some(path) = &before.path {
            let path = file.parent().context("a file is in a directory")?.join(path);
            let below = path.parent().context("a file is in a directory")?.to_owned();
            (path, below)
        } else {
            let beside = directory.join(format!("{name}.rs"));
            let inside = directory.join(&name).join("mod.rs");
            (if beside.exists() { beside } else { inside }, directory.join(&name))
        };
        let child = self.read_file(&of_file, Some(id), is_test, &below)?;
        self.modules[id].children.insert(name, child);
        Ok(at + 3)
    }

    /// Paths and `use` declarations anywhere in these tokens.
    fn name_paths(&mut self, tokens: &[Token], id: usize) {
        let mut at = 0;
        while at < tokens.len() {
            let Some(word) = tokens[at].word() else {
                at += 1;
                continue;
            };
            if word == "use" && is_use(tokens, at) {
                let (imports, end) = use_tree(tokens, at + 1);
                self.modules[id].imports.extend(imports.into_iter().map(|import| (import, Use::Here)));
                at = end;
                continue;
            }
            let is = |at: Option<usize>, char| {
                at.and_then(|at| tokens.get(at)).is_some_and(|token| token.is(char))
            };
            let is_of_value = is(at.checked_sub(1), '.') && !is(at.checked_sub(2), '.');
            let (mut path, end) = segments(tokens, at);
            if is(Some(end), '!')
                && !is(Some(end + 1), '=')
                && let Some(last) = path.last_mut()
            {
                last.push('!');
            }
            let is_called = is(Some(end), '(') || path.last().is_some_and(|word| word.ends_with('!'));
            let is_passed = is(at.checked_sub(1), '(') && is(Some(end), ')');
            let is_lower = path[0].chars().next().is_some_and(char::is_lowercase);
            let may_be_local = path.len() == 1 && is_lower && !is_called && !is_passed;
            if !is_of_value {
                self.modules[id].named.push(Named { segments: path, line: tokens[at].line, may_be_local });
            }
            at = end;
        }
    }

    fn find_functions(&mut self, tokens: &[Token], id: usize) {
        for at in 0..tokens.len() {
            let Some(name) =
                tokens.get(at + 1).and_then(Token::word).filter(|_| tokens[at].word() == Some("fn"))
            else {
                continue;
            };
            let mut open = at + 2;
            while open < tokens.len() && !tokens[open].is('{') && !tokens[open].is(';') {
                open = if tokens[open].is('(') || tokens[open].is('[') {
                    closing(tokens, open) + 1
                } else {
                    open + 1
                };
            }
            if tokens.get(open).is_some_and(|token| token.is('{')) {
                let lines = tokens[closing(tokens, open)].line - tokens[at].line + 1;
                self.modules[id].functions.push((name.to_owned(), tokens[at].line, lines));
            }
        }
    }
}

/// `#[cfg(test)]`, `#[cfg(any(test, ..))]`, `#[test]`, `#[tokio::test]`; not `cfg_attr`.
fn is_for_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().filter_map(Token::word).collect();
    match words.first() {
        Some(&"cfg") => words.contains(&"test") && !words.contains(&"not"),
        Some(&"tokio") => words.get(1) == Some(&"test"),
        Some(&"test") => true,
        _ => false,
    }
}

/// Where the item that begins with `keyword` at `at` ends.
fn end_of_item(tokens: &[Token], at: usize, keyword: &str) -> usize {
    let ends_with_semicolon = matches!(keyword, "const" | "static" | "type" | "extern" | "use");
    let mut next = at + 1;
    while let Some(token) = tokens.get(next) {
        match token.lexeme {
            Lexeme::Other(';') => return next + 1,
            Lexeme::Other('{') if !ends_with_semicolon => return closing(tokens, next) + 1,
            Lexeme::Other('(' | '[' | '{') => next = closing(tokens, next) + 1,
            _ => next += 1,
        }
    }
    tokens.len()
}
