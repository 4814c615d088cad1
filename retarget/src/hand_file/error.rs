//! What can be wrong with a hand file.

/// Why a hand could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum HandError {
    /// No hand of that name is built in.
    #[error(
        "unknown hand: expected one of {known}, got \"{name}\"; give one of these or the path of a hand file"
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are, comma-separated.
        known: String,
    },
    /// The file could not be read.
    #[error("cannot read the hand file; check that it exists and is readable: {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The text is not TOML, or has a missing, misspelt or ill-typed key; the source gives the line.
    #[error("the hand file is not a valid hand description; correct the line given: {path}")]
    Parse {
        /// The file, or the name of a built-in hand.
        path: String,
        /// Line, column and the keys expected.
        source: Box<toml::de::Error>,
    },
    /// The text is well formed, but what it says cannot be a hand.
    #[error("{what}: expected {expected}, got {got}; correct it in the hand file: {path}")]
    Invalid {
        /// The joint, tip or capsule, and its key.
        what: String,
        /// What would be right.
        expected: String,
        /// What stands there.
        got: String,
        /// The file, or the name of a built-in hand.
        path: String,
    },
}
