//! What a fuzzer gives, taken apart from the front.

use std::ops::Range;

/// Bytes that decide; when they are used up, zeros.
pub(crate) struct Input<'a> {
    bytes: &'a [u8],
}

impl<'a> Input<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Input<'a> {
        Input { bytes }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.take(1).first().copied().unwrap_or_default()
    }

    pub(crate) fn number(&mut self) -> usize {
        usize::from(self.byte()) << 8 | usize::from(self.byte())
    }

    /// A number below a bound; 0 if that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        let number = if bound > 256 { self.number() } else { self.byte().into() };
        number.checked_rem(bound).unwrap_or_default()
    }

    /// At most so many bytes.
    pub(crate) fn take(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(most.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    pub(crate) fn rest(&mut self) -> &'a [u8] {
        self.take(usize::MAX)
    }

    /// Where the rest is cut, up to eight times: the pieces, in their order.
    pub(crate) fn pieces(&mut self) -> Pieces<'a> {
        let count = self.byte() % 8;
        let mut places: Vec<usize> = (0..count).map(|_| self.number()).collect();
        let bytes = self.rest();
        places.iter_mut().for_each(|place| *place %= bytes.len() + 1);
        places.push(bytes.len());
        places.sort_unstable();
        let starts = std::iter::once(0).chain(places.iter().copied());
        let cuts = starts.zip(places.iter().copied()).map(|(start, end)| start..end).collect();
        Pieces { bytes, cuts }
    }
}

/// Bytes, and pieces of them.
pub(crate) struct Pieces<'a> {
    pub(crate) bytes: &'a [u8],
    cuts: Vec<Range<usize>>,
}

impl<'a> Pieces<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        self.cuts.iter().filter_map(|cut| self.bytes.get(cut.clone()))
    }
}
