//! The nearest known word to one that is not known.

/// Says that a word is not known, and which one may be meant.
pub(crate) fn unknown<'a>(what: &str, given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let shown: String = given.chars().take(120).collect();
    let known: Vec<&str> = known.collect();
    match nearest(given, &known) {
        Some(word) => format!("unknown {what} {shown:?}: did you mean {word}?"),
        None => format!("unknown {what} {shown:?}: known are {}", known.join(", ")),
    }
}

/// The known word with the fewest edits, if these are not more than a third of it.
fn nearest<'a>(given: &str, known: &[&'a str]) -> Option<&'a str> {
    let given: String = given.chars().take(120).collect();
    let best = known.iter().map(|word| (distance(&given, word), *word)).min()?;
    (best.0 <= 1 + best.1.len() / 3).then_some(best.1)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert!(unknown("key", "prot", ["port", "host"].into_iter()).ends_with("did you mean port?"));
        assert!(unknown("key", "zzzzzz", ["port", "host"].into_iter()).ends_with("known are port, host"));
    }
}
