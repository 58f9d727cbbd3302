//! Small changes to inputs, by a seed: the same seed makes the same changes.

/// `SplitMix64`.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Less than `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).unwrap_or_default()
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A place in a text, its end included.
    fn place(&mut self, text: &[u8]) -> usize {
        self.below(text.len() + 1)
    }

    /// A short stretch of a text.
    fn stretch(&mut self, text: &[u8]) -> std::ops::Range<usize> {
        let (start, length) = (self.place(text), self.below(16));
        start..(start + length).min(text.len())
    }
}

const MAX_LENGTH: usize = 8 * 1024;
/// Bytes that texts are divided by, and others that must not be taken for them.
const BYTES: &[u8] = b"\n\r\t \0:;,/\\.%?#@*<>\"'=-+019aAzZ[]{}\x7f\x80\xc0\xff";

/// An input made of one of the corpus, with words of the target's and parts of other inputs.
pub(crate) fn mutated(chance: &mut Chance, corpus: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
    let mut input = chance.one(corpus).clone();
    for _ in 0..=chance.below(4) {
        change(chance, &mut input, corpus, words);
    }
    input.truncate(MAX_LENGTH);
    input
}

fn change(chance: &mut Chance, input: &mut Vec<u8>, corpus: &[Vec<u8>], words: &[Vec<u8>]) {
    let at = chance.place(input);
    match chance.below(8) {
        0 if at < input.len() => input[at] = *chance.one(BYTES),
        1 if at < input.len() => input[at] ^= 1 << chance.below(8),
        2 => input.insert(at, *chance.one(BYTES)),
        3 => drop(input.drain(chance.stretch(input))),
        4 => {
            let again = input[chance.stretch(input)].to_vec();
            input.splice(at..at, again);
        }
        5 => {
            let other = chance.one(corpus);
            let from = chance.place(other);
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ if !words.is_empty() => {
            let word = chance.one(words).clone();
            let end = if chance.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
            input.splice(at..end, word);
        }
        _ => input.push(*chance.one(BYTES)),
    }
}
