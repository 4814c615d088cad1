//! The export formats. A format is one file and one line in [`FORMATS`].

use std::path::Path;

use crate::error::ExportError;
use crate::lerobot_v3;
use crate::model::Resampled;
use crate::options::{Options, Progress, Report};

/// Episodes as a format consumes them, one by one.
pub type Episodes<'a> = dyn Iterator<Item = Result<Resampled, ExportError>> + 'a;

/// Writes episodes into a folder that does not exist yet or is empty.
pub type Write =
    fn(&mut Episodes<'_>, &Path, &Options, &mut dyn FnMut(Progress)) -> Result<Report, ExportError>;

/// An export format.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub help: &'static str,
    /// Writes a dataset.
    pub write: Write,
}

/// Every format.
pub const FORMATS: &[Format] = &[Format {
    name: lerobot_v3::NAME,
    help: "LeRobotDataset v3.0: Parquet and AV1 or H.264 video, for LeRobot 0.4 and newer",
    write: |episodes, out, options, progress| lerobot_v3::write(episodes, out, options, progress),
}];

/// The format of that name.
///
/// # Errors
/// [`ExportError::UnknownFormat`], which lists the known names.
pub fn format(name: &str) -> Result<&'static Format, ExportError> {
    FORMATS
        .iter()
        .find(|format| format.name == name)
        .ok_or_else(|| ExportError::UnknownFormat {
            name: name.into(),
            known: FORMATS
                .iter()
                .map(|f| f.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_format_lists_the_known_ones() {
        let error = format("lerobot").err().map(|e| e.to_string());
        assert_eq!(
            error.as_deref(),
            Some(r#"unknown export format "lerobot"; known: lerobot-v3"#)
        );
    }

    #[test]
    fn names_are_distinct_and_helped() {
        for (at, a) in FORMATS.iter().enumerate() {
            assert!(!a.help.is_empty() && !a.help.contains('\n'), "{}", a.name);
            assert!(FORMATS[..at].iter().all(|b| b.name != a.name), "{}", a.name);
        }
    }
}
