//! The export formats. A format is one file and one line in [`FORMATS`].

use std::path::Path;

use crate::error::ExportError;
use crate::model::Resampled;
use crate::options::{Options, Progress, Report};
use crate::{
    dexumi_zarr, dreamdojo, dreamdojo_mano, dreamzero, egoscale, gr00t, lerobot_v3, lerobot_v21,
    umi_zarr,
};

/// Episodes as a format consumes them, one by one.
pub type Episodes<'a> = dyn Source + 'a;

/// Where episodes come from. An iterator is one.
pub trait Source {
    /// The next.
    fn next_episode(&mut self) -> Option<Result<Resampled, ExportError>>;

    /// Adds to an episode, counted from 0 as received, what is found of its quality only while it is
    /// written.
    fn judge(&mut self, received: usize, episode: &mut Resampled) {
        let _ = (received, episode);
    }
}

impl<I: Iterator<Item = Result<Resampled, ExportError>>> Source for I {
    fn next_episode(&mut self) -> Option<Result<Resampled, ExportError>> {
        self.next()
    }
}

/// Writes episodes into a folder that does not exist yet or is empty.
pub type Write =
    fn(&mut Episodes<'_>, &Path, &Options, &mut dyn FnMut(Progress)) -> Result<Report, ExportError>;

/// An export format.
pub struct Format {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it is, in one sentence.
    pub help: &'static str,
    /// Variants by name, each with one sentence; the first is the usual one. None where there is no
    /// choice.
    pub variants: &'static [(&'static str, &'static str)],
    /// Steps a second that its models expect.
    pub fps: u32,
    /// Its images are JPEGs, not videos.
    pub has_stills: bool,
    /// Names in the data and what they are, units and frames included; those of a LeRobot layout say
    /// so themselves.
    pub keys: &'static [(&'static str, &'static str)],
    /// How it is loaded, for the dataset's card.
    pub load: &'static str,
    /// Writes a dataset.
    pub write: Write,
}

/// Every format.
pub const FORMATS: &[Format] = &[
    lerobot_v3::FORMAT,
    lerobot_v21::FORMAT,
    dreamzero::FORMAT,
    gr00t::FORMAT,
    dreamdojo::FORMAT,
    dreamdojo_mano::FORMAT,
    egoscale::FORMAT,
    dexumi_zarr::FORMAT,
    umi_zarr::FORMAT,
];

impl Format {
    /// The variant that was asked for, or the usual one; `""` where there is no choice.
    ///
    /// # Errors
    /// [`ExportError::UnknownVariant`], which lists the known ones.
    pub fn variant(&self, options: &Options) -> Result<&'static str, ExportError> {
        let asked = options.variant.as_deref();
        let mut known = self.variants.iter().map(|(name, _)| *name);
        let found = match asked {
            None => Some(known.next().unwrap_or_default()),
            Some(asked) => known.find(|name| *name == asked),
        };
        found.ok_or_else(|| ExportError::UnknownVariant {
            format: self.name,
            name: asked.unwrap_or_default().into(),
            known: match self.variants {
                [] => "none, it has one form".to_owned(),
                variants => names(variants.iter().map(|(name, _)| *name)),
            },
        })
    }
}

fn names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

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
            known: names(FORMATS.iter().map(|f| f.name)),
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
            Some(
                r#"unknown export format "lerobot"; known: lerobot-v3, lerobot-v2.1, dreamzero, gr00t, dreamdojo, dreamdojo-mano, egoscale, dexumi-zarr, umi-zarr"#
            )
        );
    }

    #[test]
    fn names_are_distinct_and_helped() {
        for (at, a) in FORMATS.iter().enumerate() {
            assert!(!a.help.is_empty() && !a.help.contains('\n'), "{}", a.name);
            assert!(!a.load.is_empty(), "{}", a.name);
            assert!(FORMATS[..at].iter().all(|b| b.name != a.name), "{}", a.name);
        }
    }
}
