//! The picture of a history that is not linearizable: well-formed, names what is to blame, survives hostile names.

use quorate_testkit::history::{Budget, Call, Ended, History, NotLinearizable, Operation, Reply, check};

fn operation(client: u32, start: u64, end: u64, call: Call, reply: Reply) -> Operation {
    Operation { client, key: "k".into(), call, start, ended: Ended::Replied { at: end, reply } }
}

fn write(client: u32, start: u64, value: u64) -> Operation {
    operation(client, start, start + 1, Call::Write(value), Reply::Written)
}

fn read(client: u32, start: u64, value: u64) -> Operation {
    operation(client, start, start + 1, Call::Read, Reply::Value(Some(value)))
}

/// Long and good, but for one stale read by client 7.
fn stale() -> History {
    let mut operations: Vec<_> =
        (0..300).flat_map(|at| [write(at as u32 % 3, 4 * at, at), read(3, 4 * at + 2, at)]).collect();
    operations[401] = read(7, 802, 123);
    operations.push(Operation {
        client: 5,
        key: "k".into(),
        call: Call::Delete,
        start: 5_000,
        ended: Ended::Unknown,
    });
    operations.push(Operation {
        client: 6,
        key: "k".into(),
        call: Call::Write(123),
        start: 1_201,
        ended: Ended::Refused,
    });
    History { operations }
}

fn bad(history: &History) -> NotLinearizable {
    check(history, Budget::default()).expect_err("it is not linearizable")
}

/// A strict reader of the XML that may be in a picture: gives the texts, or what is wrong.
fn texts(svg: &str) -> Result<Vec<String>, String> {
    let (mut open, mut texts, mut rest) = (Vec::new(), Vec::new(), svg);
    while let Some(at) = rest.find('<') {
        texts.push(plain(&rest[..at])?);
        let end = rest.find('>').ok_or("a tag is not closed")?;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            let opened: Option<&str> = open.pop();
            if opened != Some(name) {
                return Err(format!("{name} closes {opened:?}"));
            }
            continue;
        }
        if tag.contains('<') || !tag.matches('"').count().is_multiple_of(2) {
            return Err(format!("tag {tag:?}"));
        }
        if !tag.ends_with('/') {
            open.push(tag.split(' ').next().unwrap_or_default());
        }
    }
    if open.is_empty() && rest.trim().is_empty() { Ok(texts) } else { Err(format!("{open:?} are open")) }
}

fn plain(text: &str) -> Result<String, String> {
    if text.contains(['>', '"', '\'']) || text.chars().any(|one| one.is_control() && one != '\n') {
        return Err(format!("text {text:?}"));
    }
    let known = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
    let stray = text.match_indices('&').any(|(at, _)| !known.iter().any(|one| text[at..].starts_with(one)));
    if stray { Err(format!("text {text:?}")) } else { Ok(text.to_owned()) }
}

#[test]
fn it_is_well_formed_and_names_what_is_to_blame() {
    let svg = bad(&stale()).draw();
    let texts = texts(&svg).expect("well-formed");
    let has = |wanted: &str| texts.iter().any(|text| text.contains(wanted));
    for wanted in
        ["read: it holds 123", "write 123: written", "write 200: written", "client 7", "stuck at 803"]
    {
        assert!(has(wanted), "no {wanted:?} in {svg}");
    }
    assert!(!has("write 7: written"), "what has nothing to do with it is left out");
    assert!(svg.len() < 100_000);
    // By itself: nothing is fetched, nothing runs.
    let outside = svg.replace("http://www.w3.org/2000/svg", "");
    assert!(
        !["http", "href", "url(", "script", "@import"].iter().any(|word| outside.contains(word)),
        "{svg}"
    );
}

#[test]
fn the_fewest_are_what_no_register_does() {
    let NotLinearizable::NoOrder { window, .. } = bad(&stale()) else { panic!("no order") };
    // Two of the writes between may be spared, one may not: 123, something after it, and the read of it.
    let fewest = window.fewest();
    assert!((2..=4).contains(&fewest.len()), "{fewest:?}");
    assert!(fewest.iter().any(|one| one.client == 7), "{fewest:?}");
    // They alone are bad, with all others believed less.
    let weakened = stale().operations.into_iter().filter_map(|one| {
        let spared = !fewest.contains(&one);
        match one.ended {
            Ended::Replied { reply: Reply::Value(_), .. } if spared => None,
            Ended::Replied { .. } if spared => Some(Operation { ended: Ended::Unknown, ..one }),
            Ended::Replied { .. } | Ended::Unknown | Ended::Refused => Some(one),
        }
    });
    bad(&History { operations: weakened.collect() });
}

#[test]
fn hostile_names_stay_text() {
    let hostile = "</text><script>alert('1')</script>\"&amp;\u{0}\u{1b}\u{ffff}\u{202e}]]>";
    let mut history = stale();
    for one in &mut history.operations {
        hostile.clone_into(&mut one.key);
    }
    let svg = bad(&history).draw();
    texts(&svg).expect("well-formed");
    assert!(!svg.contains("<script") && svg.contains("&lt;script&gt;"), "{svg}");
    let why = check(&history, Budget { steps_max: 1 }).expect_err("one step");
    let svg = why.draw();
    assert!(texts(&svg).expect("well-formed").iter().any(|text| text.contains("no order found in")), "{svg}");
}

#[test]
fn it_is_written_where_the_caller_says() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("a/b/stale.svg");
    let why = bad(&stale());
    why.draw_to(&path).expect("written");
    assert_eq!(std::fs::read_to_string(path).expect("there"), why.draw());
}
