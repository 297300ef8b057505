//! Finds the bodies of functions in a source file, for the pages that name them.

/// Whether this is a character of a Rust name.
pub(crate) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Where the block that opens behind `start` ends. Braces in strings are balanced in this repository's files.
fn block(text: &str, start: usize) -> Option<&str> {
    let open = start + text[start..].find('{')?;
    let mut depth = 0_usize;
    for (at, c) in text[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return Some(&text[open..=open + at]),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// The `impl` blocks of a type or trait.
fn impls<'a>(text: &'a str, of: &str) -> Vec<&'a str> {
    let mut blocks = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let mut words = line.split(|c| !is_word(c)).filter(|word| !word.is_empty());
        if words.next() == Some("impl") && words.any(|word| word == of) {
            blocks.extend(block(text, start));
        }
        start += line.len();
    }
    blocks
}

/// The bodies of `Type::function` or `function` in a file.
pub(crate) fn bodies<'a>(text: &'a str, function: &str) -> Vec<&'a str> {
    let name = function.rsplit("::").next().unwrap_or(function);
    let heads = [format!("fn {name}("), format!("fn {name}<")];
    if !heads.iter().any(|head| text.contains(head.as_str())) {
        return Vec::new();
    }
    let places = function.split_once("::").map_or_else(|| vec![text], |(of, _)| impls(text, of));
    let found = |place: &'a str| {
        let at = heads.iter().find_map(|head| place.find(head.as_str()))?;
        block(place, at)
    };
    places.into_iter().filter_map(found).collect()
}
