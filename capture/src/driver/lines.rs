//! Text lines out of a stream of bytes.

/// Cuts bytes into lines; keeps at most `longest` bytes of a line that has not
/// ended.
#[derive(Debug)]
pub struct Lines {
    rest: Vec<u8>,
    longest: usize,
    /// In a line that is too long, up to its end.
    skipping: bool,
    /// Bytes of such lines since last asked.
    discarded: u64,
}

impl Lines {
    /// Longer lines are discarded.
    pub fn new(longest: usize) -> Self {
        Self {
            rest: Vec::new(),
            longest,
            skipping: false,
            discarded: 0,
        }
    }

    /// Takes bytes and hands each line that they complete to `line`, without its
    /// end.
    pub fn push(&mut self, mut bytes: &[u8], mut line: impl FnMut(&[u8])) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (part, rest) = (&bytes[..end], &bytes[end + 1..]);
            self.keep(part);
            if std::mem::take(&mut self.skipping) {
                self.discarded += 1;
            } else {
                let whole = self.rest.strip_suffix(b"\r").unwrap_or(&self.rest);
                line(whole);
            }
            self.rest.clear();
            bytes = rest;
        }
        self.keep(bytes);
    }

    fn keep(&mut self, part: &[u8]) {
        if self.skipping {
            self.discarded += part.len() as u64;
        } else if self.rest.len() + part.len() > self.longest {
            self.discarded += (self.rest.len() + part.len()) as u64;
            self.rest = Vec::new();
            self.skipping = true;
        } else {
            self.rest.extend_from_slice(part);
        }
    }

    /// Bytes of lines that were too long, since this was last asked.
    pub fn take_discarded(&mut self) -> u64 {
        std::mem::take(&mut self.discarded)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_end_as_on_any_system() {
        let mut lines = Lines::new(100);
        let mut got = Vec::new();
        for part in ["one\r\ntw", "o\n\n", "unended"] {
            lines.push(part.as_bytes(), |line| got.push(line.to_vec()));
        }
        assert_eq!(got, [b"one".to_vec(), b"two".to_vec(), b"".to_vec()]);
    }

    proptest! {
        #[test]
        fn bytes_are_lines_discarded_or_waiting(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), any::<u8>()], 0..400),
            cut in 1_usize..40,
        ) {
            let mut lines = Lines::new(20);
            let (mut taken, mut discarded) = (0_u64, 0);
            for part in bytes.chunks(cut) {
                lines.push(part, |line| {
                    assert!(line.len() <= 20);
                    taken += line.len() as u64 + 1;
                });
                discarded += lines.take_discarded();
                prop_assert!(lines.rest.len() <= 20);
            }
            // A carriage return before the end of a line is no part of it.
            let returns = bytes.windows(2).filter(|pair| *pair == b"\r\n").count() as u64;
            let all = bytes.len() as u64;
            let sum = taken + discarded + lines.rest.len() as u64;
            prop_assert!(sum <= all && sum + returns >= all);
        }
    }
}
