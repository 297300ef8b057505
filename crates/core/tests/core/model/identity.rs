//! The identity of a state: a hash over everything in it that can influence what follows, computed once for each part.

use std::hash::{BuildHasher as _, Hash, Hasher};

use ahash::{AHasher, RandomState};

/// The step of SplitMix64, which draws core's election timeouts. It begins at zero here, so its states are the multiples.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
/// `STEP * INVERSE == 1`.
const INVERSE: u64 = 0xf1de_83e1_9937_733d;
/// More timeouts than any path draws.
const DRAWS_MAX: u64 = 1 << 16;

/// The identity of a value. The state of the generator is left out: it draws from a range of one tick.
pub(crate) fn identity<T: Hash>(value: &T) -> u64 {
    let mut hasher = Canonical(RandomState::with_seeds(1, 2, 3, 4).build_hasher());
    value.hash(&mut hasher);
    hasher.finish()
}

struct Canonical(AHasher);

impl Hasher for Canonical {
    fn finish(&self) -> u64 {
        self.0.finish()
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    fn write_u8(&mut self, number: u8) {
        self.0.write_u8(number);
    }

    fn write_usize(&mut self, number: usize) {
        self.0.write_usize(number);
    }

    fn write_u64(&mut self, number: u64) {
        let draws = number.wrapping_mul(INVERSE);
        self.0.write_u64(if draws < DRAWS_MAX { 0 } else { number });
    }
}

#[test]
fn only_states_of_the_generator_count_as_nothing() {
    assert_eq!(STEP.wrapping_mul(INVERSE), 1);
    assert_eq!(identity(&STEP.wrapping_mul(12)), identity(&0_u64));
    for number in (1..2_000_000_u64).chain((1..1_000_u64).map(|boot| boot << 48)) {
        assert!(
            number.wrapping_mul(INVERSE) >= DRAWS_MAX,
            "{number} would be taken for a state of the generator"
        );
    }
}
