//! Grades: how much of an episode a model can be trained on.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A grade, best first; an episode has that of its worst figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Grade {
    /// Nothing found.
    A,
    /// Something that a model hardly minds.
    B,
    /// Doubtful: parts cannot be used, or labels are off by what a task may feel.
    C,
    /// Not to be trained on as it is.
    D,
}

/// Every grade, best first.
pub const GRADES: [Grade; 4] = [Grade::A, Grade::B, Grade::C, Grade::D];

impl Grade {
    /// Whether it is `least` or better.
    pub fn reaches(self, least: Self) -> bool {
        self <= least
    }
}

impl fmt::Display for Grade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        })
    }
}

impl FromStr for Grade {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        GRADES
            .into_iter()
            .find(|grade| grade.to_string().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("unknown grade `{text}`, expected A, B, C or D"))
    }
}
