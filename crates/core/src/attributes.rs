//! What is said about a span, as bytes one after another: a span says several things, and to allocate for each would cost more
//! than to say them.

/// Bytes that a span's attributes take, mostly.
const EXPECTED: usize = 192;
/// How a value begins.
const TEXT: u8 = 0;
const NUMBER: u8 = 1;
const FLAG: u8 = 2;

/// The value of an attribute.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Attribute<'a> {
    Text(&'a str),
    Number(i64),
    Flag(bool),
}

/// Names and values, in the order in which they were said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes {
    count: u32,
    bytes: Vec<u8>,
}

impl Attributes {
    pub fn push(&mut self, name: &str, value: Attribute<'_>) {
        self.bytes.reserve(EXPECTED.saturating_sub(self.bytes.capacity()));
        self.count += 1;
        put(&mut self.bytes, name, value);
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Attribute<'_>)> {
        let mut unread = Unread(&self.bytes);
        (0..self.count).map(move |_| unread.attribute())
    }

    /// Returns the first value of this name.
    pub fn get(&self, name: &str) -> Option<Attribute<'_>> {
        let mut unread = Unread(&self.bytes);
        (0..self.count).find_map(|_| {
            let found = unread.bytes() == name.as_bytes();
            let value = unread.value();
            found.then_some(value)
        })
    }

    /// Adds these and what all spans of a sort say to a row of bytes, to be read by [`Unread::count`] and as many
    /// [`Unread::attribute`].
    pub fn pack(&self, constants: &[(&str, &str)], row: &mut Vec<u8>) {
        put_count(row, self.count as usize + constants.len());
        constants.iter().for_each(|(name, text)| put(row, name, Attribute::Text(text)));
        row.extend_from_slice(&self.bytes);
    }

    /// Forgets all, and holds on to the memory.
    pub(crate) fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }

    /// Returns how much memory is held.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

fn put(row: &mut Vec<u8>, name: &str, value: Attribute<'_>) {
    put_text(row, name);
    match value {
        Attribute::Text(text) => {
            row.push(TEXT);
            put_text(row, text);
        }
        Attribute::Number(number) => {
            row.push(NUMBER);
            row.extend_from_slice(&number.to_le_bytes());
        }
        Attribute::Flag(flag) => row.extend_from_slice(&[FLAG, u8::from(flag)]),
    }
}

/// Adds a text to a row of bytes, to be read by [`Unread::text`].
pub fn put_text(row: &mut Vec<u8>, text: &str) {
    put_count(row, text.len());
    row.extend_from_slice(text.as_bytes());
}

/// Adds a number of things to a row of bytes, to be read by [`Unread::count`].
pub fn put_count(row: &mut Vec<u8>, count: usize) {
    row.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
}

/// What is left to read of a row of bytes. Bytes that are missing read as zeros.
#[derive(Clone, Copy, Debug)]
pub struct Unread<'a>(pub &'a [u8]);

impl<'a> Unread<'a> {
    pub fn skip(&mut self, length: usize) {
        self.0 = self.0.get(length..).unwrap_or_default();
    }

    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let array = self.0.first_chunk().copied().unwrap_or([0; N]);
        self.skip(N);
        array
    }

    pub fn count(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub fn text(&mut self) -> &'a str {
        str::from_utf8(self.bytes()).unwrap_or_default()
    }

    pub fn attribute(&mut self) -> (&'a str, Attribute<'a>) {
        (self.text(), self.value())
    }

    fn bytes(&mut self) -> &'a [u8] {
        let length = self.count() as usize;
        let bytes = self.0.get(..length).unwrap_or_default();
        self.skip(length);
        bytes
    }

    fn value(&mut self) -> Attribute<'a> {
        let [tag] = self.array();
        match tag {
            TEXT => Attribute::Text(self.text()),
            NUMBER => Attribute::Number(i64::from_le_bytes(self.array())),
            _ => Attribute::Flag(self.array() != [0]),
        }
    }
}

impl<'a> From<&'a str> for Attribute<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text)
    }
}

impl<'a> From<&'a String> for Attribute<'a> {
    fn from(text: &'a String) -> Self {
        Self::Text(text)
    }
}

impl From<u32> for Attribute<'_> {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u64> for Attribute<'_> {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Attribute<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_read_as_it_was() {
        let said = [("a", "é".into()), ("", 7_u64.into()), ("b", true.into()), ("b", "".into())];
        let mut attributes = Attributes::default();
        said.into_iter().for_each(|(name, value)| attributes.push(name, value));
        assert_eq!(attributes.iter().collect::<Vec<_>>(), said);
        assert_eq!(attributes.get("b"), Some(Attribute::Flag(true)));
        assert_eq!((attributes.get("c"), attributes.get("é")), (None, None));
        let mut row = Vec::new();
        attributes.pack(&[("k", "v")], &mut row);
        let mut unread = Unread(&row);
        let read: Vec<_> = (0..unread.count()).map(|_| unread.attribute()).collect();
        assert_eq!((read[0], &read[1..], unread.0.len()), (("k", "v".into()), &said[..], 0));
    }

    #[test]
    fn bytes_that_are_missing_read_as_zeros() {
        let mut unread = Unread(&[9, 0, 0, 0, b'x']);
        assert_eq!((unread.text(), unread.attribute()), ("", ("", Attribute::Text(""))));
    }
}
