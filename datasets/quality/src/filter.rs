//! Which episodes are wanted: a condition in words.
//!
//! ```text
//! grade >= B and not tag = blurred
//! sync_residual@wrist < 15 and (task ~ cube or task ~ "red box")
//! ```

use dexumi_episode::{Notes, Outcome};
use serde::{Deserialize, Serialize};

use crate::{grade::Grade, metric::METRICS, verdict::Verdict};

/// Words that are no metric.
const WORDS: [&str; 9] = [
    "grade", "tag", "task", "operator", "outcome", "hand", "rig", "note", "episode",
];

/// What a condition is held against.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// What was measured.
    pub verdict: &'a Verdict,
    /// What a person said; their tags count as tags.
    pub notes: &'a Notes,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Filter {
    text: String,
    condition: Condition,
}

impl TryFrom<String> for Filter {
    type Error = FilterError;

    fn try_from(text: String) -> Result<Self, FilterError> {
        Self::parse(&text)
    }
}

impl From<Filter> for String {
    fn from(filter: Filter) -> Self {
        filter.text
    }
}

/// A condition that says nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("condition `{text}`: {problem} at `{at}`")]
pub struct FilterError {
    /// All of it.
    pub text: String,
    /// What is wrong, and what was expected.
    pub problem: String,
    /// Where.
    pub at: String,
}

#[derive(Debug, Clone, PartialEq)]
enum Condition {
    All(Vec<Condition>),
    Any(Vec<Condition>),
    Not(Box<Condition>),
    Grade(Sign, Grade),
    Word(&'static str, Sign, String),
    Figure {
        metric: &'static str,
        subject: Option<String>,
        sign: Sign,
        value: f64,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sign {
    Less,
    AtMost,
    More,
    AtLeast,
    Is,
    IsNot,
    Has,
}

const SIGNS: [(&str, Sign); 9] = [
    ("<=", Sign::AtMost),
    (">=", Sign::AtLeast),
    ("!=", Sign::IsNot),
    ("==", Sign::Is),
    ("<", Sign::Less),
    (">", Sign::More),
    ("=", Sign::Is),
    ("~", Sign::Has),
    ("≥", Sign::AtLeast),
];

impl Sign {
    fn holds(self, ordering: std::cmp::Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::More => ordering.is_gt(),
            Self::AtLeast => ordering.is_ge(),
            Self::Is => ordering.is_eq(),
            Self::IsNot => ordering.is_ne(),
            Self::Has => false,
        }
    }
}

impl Filter {
    /// Reads a condition: comparisons joined by `and`, `or`, `not` and parentheses. On the left a
    /// metric (its worst value; `metric@subject` for one stream), or `grade`, `tag`, `task`,
    /// `operator`, `outcome`, `hand`, `rig`, `note`, `episode`; then `<`, `<=`, `>`, `>=`, `=`,
    /// `!=`, or `~` (contains, whatever the case). Better grades are the greater ones. A figure that
    /// was not measured fulfils no comparison.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut reader = Reader {
            text,
            tokens: tokens(text),
            at: 0,
        };
        let condition = reader.any()?;
        match reader.peek() {
            None => Ok(Self {
                text: text.to_owned(),
                condition,
            }),
            Some(_) => Err(reader.error("expected `and`, `or` or the end")),
        }
    }

    /// Whether an episode fulfils it.
    pub fn holds(&self, subject: Subject<'_>) -> bool {
        self.condition.holds(subject)
    }

    /// Metrics that it asks for, of a stream alone where it names one.
    pub fn figures(&self) -> Vec<(&'static str, Option<&str>)> {
        let mut found = Vec::new();
        self.condition.each(&mut |one| {
            if let Condition::Figure {
                metric, subject, ..
            } = one
            {
                found.push((*metric, subject.as_deref()));
            }
        });
        found
    }

    /// Tags that it asks for by name.
    pub fn tags(&self) -> Vec<&str> {
        let mut found = Vec::new();
        self.condition.each(&mut |one| {
            if let Condition::Word("tag", Sign::Is | Sign::IsNot, tag) = one {
                found.push(tag.as_str());
            }
        });
        found
    }
}

impl Condition {
    /// Calls `see` for each comparison.
    fn each<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        match self {
            Self::All(all) | Self::Any(all) => all.iter().for_each(|one| one.each(see)),
            Self::Not(one) => one.each(see),
            one => see(one),
        }
    }

    fn holds(&self, of: Subject<'_>) -> bool {
        match self {
            Self::All(all) => all.iter().all(|one| one.holds(of)),
            Self::Any(any) => any.iter().any(|one| one.holds(of)),
            Self::Not(one) => !one.holds(of),
            // A is better, hence greater.
            Self::Grade(sign, grade) => sign.holds(of.verdict.grade.cmp(grade).reverse()),
            Self::Word(word, sign, wanted) => {
                let matches = |have: &str| match sign {
                    Sign::Has => have.to_lowercase().contains(&wanted.to_lowercase()),
                    _ => have == wanted,
                };
                let verdict = of.verdict;
                let outcome = match of.notes.outcome {
                    Outcome::Unknown => "unknown",
                    Outcome::Success => "success",
                    Outcome::Failure => "failure",
                };
                let found = match *word {
                    "tag" => verdict
                        .tags
                        .iter()
                        .chain(&of.notes.tags)
                        .any(|tag| matches(tag)),
                    "task" => matches(&verdict.task),
                    "operator" => matches(&verdict.operator),
                    "outcome" => matches(outcome),
                    "hand" => matches(&verdict.hand),
                    "rig" => matches(&verdict.rig),
                    "note" => matches(&of.notes.note),
                    _ => matches(&verdict.episode),
                };
                found != (*sign == Sign::IsNot)
            }
            Self::Figure {
                metric,
                subject,
                sign,
                value,
            } => {
                let figure = of.verdict.worst(metric, subject.as_deref());
                let found = figure.and_then(|figure| figure.value);
                found.is_some_and(|found| sign.holds(found.total_cmp(value)))
            }
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    tokens: Vec<String>,
    at: usize,
}

/// Words, signs, parentheses; a quoted text keeps its first quote as a mark.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '(' || first == ')' {
            1
        } else if first == '"' || first == '\'' {
            let end = rest[1..].find(first).map_or(rest.len(), |at| at + 1);
            tokens.push(rest[..end].to_owned());
            rest = rest.get(end + 1..).unwrap_or("").trim_start();
            continue;
        } else if let Some((sign, _)) = SIGNS.iter().find(|(sign, _)| rest.starts_with(sign)) {
            sign.len()
        } else {
            let ends = |c: char| c.is_whitespace() || "()<>=!~\"'≥".contains(c);
            rest.find(ends)
                .filter(|at| *at > 0)
                .unwrap_or(match rest.find(ends) {
                    Some(_) => first.len_utf8(),
                    None => rest.len(),
                })
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    tokens
}

impl Reader<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn next(&mut self) -> Option<String> {
        self.at += 1;
        self.tokens.get(self.at - 1).cloned()
    }

    fn takes(&mut self, word: &str) -> bool {
        let is_it = self
            .peek()
            .is_some_and(|token| token.eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }

    fn error(&self, problem: impl Into<String>) -> FilterError {
        FilterError {
            text: self.text.to_owned(),
            problem: problem.into(),
            at: self.peek().unwrap_or("its end").to_owned(),
        }
    }

    fn any(&mut self) -> Result<Condition, FilterError> {
        let mut any = vec![self.all()?];
        while self.takes("or") {
            any.push(self.all()?);
        }
        Ok(match any.len() {
            1 => any.remove(0),
            _ => Condition::Any(any),
        })
    }

    fn all(&mut self) -> Result<Condition, FilterError> {
        let mut all = vec![self.one()?];
        while self.takes("and") {
            all.push(self.one()?);
        }
        Ok(match all.len() {
            1 => all.remove(0),
            _ => Condition::All(all),
        })
    }

    fn one(&mut self) -> Result<Condition, FilterError> {
        // Nobody types so many; a stack has an end.
        if self.at > 1000 {
            return Err(self.error("too long, expected at most 1000 words"));
        }
        if self.takes("not") {
            return Ok(Condition::Not(Box::new(self.one()?)));
        }
        if self.takes("(") {
            let inner = self.any()?;
            return match self.takes(")") {
                true => Ok(inner),
                false => Err(self.error("expected `)`")),
            };
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Condition, FilterError> {
        let place = self.at;
        let name = self.next().unwrap_or_default();
        let (key, subject) = match name.split_once('@') {
            Some((key, subject)) => (key.to_owned(), Some(subject.to_owned())),
            None => (name, None),
        };
        let word = WORDS.into_iter().find(|word| *word == key);
        let metric = crate::metric(&key).map(|metric| metric.key);
        if word.is_none() && metric.is_none() {
            self.at = place;
            let metrics: Vec<&str> = METRICS.iter().map(|metric| metric.key).collect();
            let known = format!("{}, {}", WORDS.join(", "), metrics.join(", "));
            return Err(self.error(format!("unknown name, expected one of {known}")));
        }
        let sign = self.peek().unwrap_or_default();
        let Some(&(_, sign)) = SIGNS.iter().find(|(known, _)| *known == sign) else {
            return Err(self.error("expected <, <=, >, >=, =, != or ~"));
        };
        self.at += 1;
        let place = self.at;
        let Some(value) = self.next() else {
            return Err(self.error("expected a value"));
        };
        let value = value.trim_start_matches(['"', '\'']).to_owned();
        let refuse = |reader: &mut Self, problem: &str| {
            reader.at = place;
            Err(reader.error(problem))
        };
        match (metric, word) {
            (Some(metric), _) => match value.parse() {
                Ok(value) if sign != Sign::Has => Ok(Condition::Figure {
                    metric,
                    subject,
                    sign,
                    value,
                }),
                _ => refuse(self, "expected a number"),
            },
            (None, Some("grade")) => match value.parse() {
                Ok(grade) if sign != Sign::Has => Ok(Condition::Grade(sign, grade)),
                _ => refuse(self, "expected A, B, C or D"),
            },
            (None, Some(word)) if matches!(sign, Sign::Is | Sign::IsNot | Sign::Has) => {
                Ok(Condition::Word(word, sign, value))
            }
            _ => {
                self.at = place - 1;
                Err(self.error("expected =, != or ~ after a word"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Figure, Signature};

    fn verdict() -> Verdict {
        let figure = |metric: &str, subject: &str, value: Option<f64>| Figure {
            metric: metric.to_owned(),
            subject: subject.to_owned(),
            value,
            unit: String::new(),
            grade: None,
            note: String::new(),
        };
        Verdict {
            episode: "episode_0003.mcap".to_owned(),
            id: String::new(),
            task: "pick up the red Cube".to_owned(),
            operator: "op-1".to_owned(),
            hand: "xhand_right".to_owned(),
            rig: "bench".to_owned(),
            duration_s: 12.0,
            grade: Grade::B,
            tags: vec!["blurred".to_owned()],
            figures: vec![
                figure("sync_residual", "wrist", Some(12.0)),
                figure("sync_residual", "head", Some(31.0)),
                figure("smoothness", "wrist", Some(-6.0)),
                figure("idle_share", "", None),
            ],
            not_measured: Vec::new(),
            signature: Signature::default(),
        }
    }

    #[test]
    fn conditions_hold_as_they_read() {
        let verdict = verdict();
        let notes = Notes {
            outcome: Outcome::Success,
            tags: vec!["keep".to_owned()],
            note: String::new(),
        };
        let holds = |text: &str| {
            let filter = Filter::parse(text).unwrap_or_else(|error| panic!("{error}"));
            filter.holds(Subject {
                verdict: &verdict,
                notes: &notes,
            })
        };
        for yes in [
            "grade >= B",
            "grade>=C and not grade = A",
            "tag = blurred",
            "tag = keep and outcome = success",
            "task ~ cube",
            "task ~ \"red cube\" or grade = D",
            "sync_residual > 30",
            "sync_residual@wrist<15",
            "smoothness >= -7",
            "not (tag = dark or grade < C)",
            "operator != op-2",
            "NOT idle_share < 50",
        ] {
            assert!(holds(yes), "{yes}");
        }
        for no in [
            "grade = A",
            "tag = dark",
            "sync_residual < 20",
            "sync_residual@left > 0",
            "idle_share < 50",
            "grade >= B and tag != blurred",
        ] {
            assert!(!holds(no), "{no}");
        }
    }

    #[test]
    fn what_is_no_condition_says_where_and_what_was_expected() {
        for (text, expected) in [
            ("", "unknown name"),
            ("colour = red", "sync_residual"),
            ("grade >= E", "A, B, C or D"),
            ("blurred < much", "a number"),
            ("blurred 3", "<, <="),
            ("(grade = A", "`)`"),
            ("grade = A tag = b", "`and`"),
            ("task < a", "after a word"),
            ("grade =", "a value"),
        ] {
            let error = Filter::parse(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ a-z@()<>=!~\"'0-9≥Ä]{0,40}") {
            let _ = Filter::parse(&text);
        }
    }
}
