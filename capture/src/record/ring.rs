//! What was captured shortly before an episode starts.

use std::{collections::VecDeque, time::Duration};

use dexumi_episode::Delta;

use super::stream::Entry;

/// Images of the ring take no more memory [byte].
const MAX_IMAGE_BYTES: usize = 256 << 20;

/// Entries of the last moments, oldest first.
pub(super) struct Ring {
    span: Delta,
    entries: VecDeque<(usize, Entry)>,
    image_bytes: usize,
}

impl Ring {
    /// Keeps what was captured within `span` before the newest.
    pub fn new(span: Duration) -> Self {
        Self {
            span: Delta::from_secs_f64(span.as_secs_f64()),
            entries: VecDeque::new(),
            image_bytes: 0,
        }
    }

    pub fn push(&mut self, stream: usize, entry: Entry) {
        let limit = entry.at - self.span;
        self.image_bytes += entry.image_bytes();
        self.entries.push_back((stream, entry));
        while let Some((_, first)) = self.entries.front()
            && (first.at < limit || self.image_bytes > MAX_IMAGE_BYTES)
        {
            self.image_bytes -= first.image_bytes();
            self.entries.pop_front();
        }
    }

    /// Takes everything out.
    pub fn drain(&mut self) -> impl Iterator<Item = (usize, Entry)> + use<> {
        self.image_bytes = 0;
        std::mem::take(&mut self.entries).into_iter()
    }
}
