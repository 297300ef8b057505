//! The nearest known word to one that is not known.

/// The most characters of a wrong word that are looked at and shown.
const SHOWN_MAX: usize = 120;

/// Says that a word is not known, and which one may be meant.
pub(crate) fn unknown<'a>(what: &str, given: &str, known: impl Iterator<Item = &'a str>) -> String {
    let shown: String = given.chars().take(SHOWN_MAX).collect();
    let known: Vec<&str> = known.collect();
    // The word with the fewest edits, if these are not more than a third of it.
    let nearest = known.iter().map(|word| (strsim::levenshtein(&shown, word), *word)).min();
    match nearest.filter(|(edits, word)| *edits <= 1 + word.len() / 3) {
        Some((_, word)) => format!("unknown {what} {shown:?}: did you mean {word}?"),
        None => format!("unknown {what} {shown:?}: known are {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        assert!(unknown("key", "prot", ["port", "host"].into_iter()).ends_with("did you mean port?"));
        assert!(unknown("key", "zzzzzz", ["port", "host"].into_iter()).ends_with("known are port, host"));
    }
}
