//! Whether the episode says in words what was done.

use crate::{measured::Measured, metric::Found};

/// Words that stand where a task should.
const PLACEHOLDERS: &[&str] = &[
    "test", "testing", "todo", "tbd", "task", "untitled", "none", "null", "nan", "default", "foo",
    "bar", "asdf", "qwerty", "xxx", "n/a", "unknown", "episode", "demo", "example", "string",
];
/// Longer than any instruction that a model is given.
const LONGEST: usize = 300;

/// 0 there and sensible, 1 doubtful, 2 absent; and why.
pub(crate) fn judge(task: &str) -> (f64, &'static str) {
    let task = task.trim();
    let words: Vec<String> = task
        .split(|c: char| c.is_whitespace() || matches!(c, '_' | '-' | ',' | '.' | ';' | ':'))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect();
    if words.is_empty() {
        return (2.0, "the task is empty");
    }
    let is_word = |word: &String| word.chars().any(char::is_alphabetic);
    if !words.iter().any(is_word) {
        return (2.0, "the task has no word");
    }
    let is_placeholder = |word: &String| {
        PLACEHOLDERS.contains(&word.as_str()) || word.chars().all(|c| c.is_ascii_digit())
    };
    if words.iter().all(is_placeholder) {
        return (2.0, "the task is a placeholder");
    }
    if task.chars().any(char::is_control) || task.contains('\u{FFFD}') {
        return (1.0, "the task has characters that are no text");
    }
    if task.chars().count() > LONGEST {
        return (1.0, "the task is longer than an instruction");
    }
    // Scripts without spaces write a sentence as one word.
    let is_ascii = task.is_ascii();
    if is_ascii && words.len() < 2 {
        return (1.0, "the task is one word, expected a sentence");
    }
    let has_vowel = |word: &String| word.chars().any(|c| "aeiouy".contains(c));
    if is_ascii && !words.iter().any(has_vowel) {
        return (1.0, "the task reads like no language");
    }
    let mut distinct = words.clone();
    distinct.sort();
    distinct.dedup();
    if words.len() > 2 && distinct.len() == 1 {
        return (1.0, "the task repeats one word");
    }
    (0.0, "")
}

pub(crate) fn language(measured: &Measured<'_>) -> Vec<Found> {
    let (value, why) = judge(&measured.input.episode.info.task);
    vec![Found::new("", value).noting(why)]
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn sentences_pass_and_what_is_none_does_not() {
        for good in [
            "pick up the cube",
            "grasp and release",
            "Fold the towel, then put it away.",
            "把杯子放在桌子上",
            "nimm den Becher",
        ] {
            assert_eq!(judge(good).0, 0.0, "{good}");
        }
        for (bad, level) in [
            ("", 2.0),
            ("  \n", 2.0),
            ("test 3", 2.0),
            ("12", 2.0),
            ("--", 2.0),
            ("cube", 1.0),
            ("xkcd qwrt", 1.0),
            ("pick up\u{0}the cube", 1.0),
            ("pick pick pick", 1.0),
        ] {
            assert_eq!(judge(bad).0, level, "{bad:?}: {}", judge(bad).1);
        }
        assert_eq!(judge(&"go on ".repeat(60)).0, 1.0);
    }
}
