//! The decoder under mutated bytes, deterministic and on stable Rust. `.ci/fuzz` runs the open-ended twin.
//! `QUORATE_FUZZ_ROUNDS` and `QUORATE_FUZZ_SEED` widen a run; a failure prints the seed of its round.

use crate::common::frame;
use quorate_bridge::{FrameError, Inspector, WIRE_FRAME_BYTES_MAX};
use std::path::Path;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z ^ (z >> 29)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// The golden frames and the streams of the corpus, by name so that a seed means the same everywhere.
fn corpus() -> Vec<Vec<u8>> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut files: Vec<_> = ["golden", "corpus"]
        .iter()
        .flat_map(|directory| std::fs::read_dir(tests.join(directory)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|path| std::fs::read(path).unwrap()).collect()
}

fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            // Markers of every MessagePack family, and lengths at their edges.
            2 if !bytes.is_empty() => {
                const MARKERS: [u8; 14] =
                    [0x80, 0x8f, 0x90, 0x9f, 0xc0, 0xc1, 0xc6, 0xc9, 0xcf, 0xd9, 0xdb, 0xdd, 0xdf, 0xff];
                bytes[at] = MARKERS[random.below(MARKERS.len())];
            }
            3 => bytes.truncate(at),
            4 => bytes.splice(at..at, std::iter::repeat_n(0x91, random.below(300))).for_each(drop),
            5 => {
                let (from, to) = (random.below(other.len()), random.below(other.len()));
                let piece = other[from.min(to)..from.max(to)].to_vec();
                bytes.splice(at..at, piece).for_each(drop);
            }
            _ => {
                let end = (at + random.below(9)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
    }
}

/// Gives mutated bytes a valid header: otherwise most stop at the checksum and the bodies are not reached.
fn mend(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    if bytes.len() < 10 || bytes.len() > WIRE_FRAME_BYTES_MAX {
        return bytes.to_vec();
    }
    let kind = if random.below(4) == 0 { random.below(18) as u8 } else { bytes[5] };
    frame(kind, &bytes[10..])
}

fn feed(bytes: &[u8], random: &mut Random) -> Result<usize, FrameError> {
    let mut inspector = Inspector::new(MESSAGE_BYTES_MAX);
    let (mut found, mut rest) = (0, bytes);
    while !rest.is_empty() {
        let (piece, later) = rest.split_at(1 + random.below(rest.len()));
        let result = inspector.feed(piece);
        // A connection holds no more than was sent to it, whatever the bytes claim.
        assert!(inspector.held_bytes() <= bytes.len() * 2 + 1024, "{} bytes held", inspector.held_bytes());
        found += result?.len();
        rest = later;
    }
    Ok(found)
}

#[test]
fn mutated_frames_never_panic_and_never_hold_more_than_they_sent() {
    let setting = |name: &str, default: u64| {
        std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
    };
    let (rounds, seed) = (setting("QUORATE_FUZZ_ROUNDS", 200_000), setting("QUORATE_FUZZ_SEED", 1));
    let corpus = corpus();
    let (mut accepted, mut refused) = (0, 0);
    for round in 0..rounds {
        let mut random = Random(seed.wrapping_add(round));
        let mut bytes = corpus[random.below(corpus.len())].clone();
        let other = corpus[random.below(corpus.len())].clone();
        mutate(&mut bytes, &other, &mut random);
        if random.below(4) > 0 {
            bytes = mend(&bytes, &mut random);
        }
        let what = std::panic::catch_unwind(|| feed(&bytes, &mut Random(round)));
        match what.unwrap_or_else(|_| panic!("round {round} of seed {seed}: {bytes:02x?}")) {
            Ok(_) => accepted += 1,
            Err(_) => refused += 1,
        }
    }
    assert!(accepted > rounds / 100 && refused > rounds / 4, "{accepted} accepted, {refused} refused");
}

#[test]
fn the_corpus_itself_is_well_formed_or_known_not_to_be() {
    for bytes in corpus() {
        match feed(&bytes, &mut Random(1)) {
            Ok(found) => assert!(found > 0),
            Err(error) => {
                assert!(matches!(error, FrameError::Fragment { .. } | FrameError::Depth { .. }), "{error}");
            }
        }
    }
}
