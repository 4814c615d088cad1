//! The losses ledger: received = written + itemised losses, per stream, always.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::schema::{Loss, StreamHealth};

/// What became of one stream's packets during an episode.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct StreamLedger {
    /// Packets seen, good or bad.
    pub received: u64,
    /// Samples in the file.
    pub written: u64,
    /// Packets not in the file, by kind.
    pub losses: BTreeMap<String, u64>,
    /// Of the written samples, those that contradict their neighbours.
    pub suspect: u64,
    /// Samples that never arrived, by gaps in the device's sequence or clock.
    pub missing: u64,
    /// Bytes between packets, skipped while searching a header.
    pub bytes_discarded: u64,
    /// Times the device was gone.
    #[serde(default)]
    pub outages: u64,
    /// For how long in all [ns].
    #[serde(default)]
    pub outage_ns: i64,
}

impl StreamLedger {
    /// Counts lost packets of a kind.
    pub fn lose(&mut self, kind: &str, count: u64) {
        if count > 0 {
            *self.losses.entry(kind.to_owned()).or_default() += count;
        }
    }

    /// Sum of the itemised losses; at most `u64::MAX`, whatever a damaged file says.
    pub fn lost(&self) -> u64 {
        self.losses.values().copied().fold(0, u64::saturating_add)
    }

    /// Whether received = written + losses.
    pub fn balances(&self) -> bool {
        self.written.checked_add(self.lost()) == Some(self.received)
    }

    /// Whether anything is to be told to the user.
    pub fn is_clean(&self) -> bool {
        self.lost() == 0 && self.suspect == 0 && self.missing == 0 && self.outages == 0
    }

    /// From a health message.
    pub fn of_health(health: &StreamHealth) -> Self {
        Self {
            received: health.received,
            written: health.written,
            losses: health
                .losses
                .iter()
                .map(|loss| (loss.kind.clone(), loss.count))
                .collect(),
            suspect: health.suspect,
            missing: health.missing,
            bytes_discarded: health.bytes_discarded,
            outages: health.outages,
            outage_ns: health.outage_ns,
        }
    }

    /// Into a health message, whose rate, age and clock are the caller's.
    pub fn to_health(&self, stream: &str) -> StreamHealth {
        StreamHealth {
            stream: stream.to_owned(),
            received: self.received,
            written: self.written,
            losses: self
                .losses
                .iter()
                .map(|(kind, &count)| Loss {
                    kind: kind.clone(),
                    count,
                })
                .collect(),
            suspect: self.suspect,
            missing: self.missing,
            bytes_discarded: self.bytes_discarded,
            outages: self.outages,
            outage_ns: self.outage_ns,
            ..StreamHealth::default()
        }
    }
}

/// Ledgers of all streams of an episode.
pub type Ledger = BTreeMap<String, StreamLedger>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_file_s_counts_do_not_overflow() {
        let mut ledger = StreamLedger {
            written: 1,
            ..StreamLedger::default()
        };
        ledger.lose("corrupt", u64::MAX);
        ledger.lose("late", 2);
        assert_eq!(ledger.lost(), u64::MAX);
        assert!(!ledger.balances());
    }
}
