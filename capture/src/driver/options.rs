//! A driver's own settings, from the rig.

use std::{collections::BTreeMap, ops::RangeInclusive};

use dexumi_episode::Device;

use crate::error::CaptureError;

/// Settings of one connection, taken from all its entries.
pub struct Options {
    device: Device,
    values: BTreeMap<String, toml::Value>,
}

/// A connection that cannot be opened, in the words of its first entry.
pub fn failed(device: &Device, problem: impl Into<String>, next: &str) -> CaptureError {
    CaptureError::Open {
        stream: device.stream.clone(),
        address: device.address.clone(),
        problem: problem.into(),
        next: next.to_owned(),
    }
}

impl Options {
    /// Takes what the entries of a connection say; one of them is enough.
    ///
    /// # Errors
    /// A key that is none of `known`, or two entries that contradict each other.
    pub fn of(devices: &[Device], known: &[&str]) -> Result<Self, CaptureError> {
        let mut values = BTreeMap::new();
        for device in devices {
            for (key, value) in &device.options {
                if !known.contains(&key.as_str()) {
                    return Err(failed(
                        device,
                        format!("driver `{}` has no option `{key}`", device.driver),
                        &format!("it knows: {}", known.join(", ")),
                    ));
                }
                let before = values.insert(key.clone(), value.clone());
                if before.is_some_and(|before| before != *value) {
                    return Err(failed(
                        device,
                        format!("option `{key}` differs from that of another stream"),
                        "entries with one address share one connection: give it once",
                    ));
                }
            }
        }
        Ok(Self {
            device: devices[0].clone(),
            values,
        })
    }

    fn get<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&toml::Value) -> Option<T>,
    ) -> Result<Option<T>, CaptureError> {
        self.values
            .get(key)
            .map(|value| {
                read(value).ok_or_else(|| {
                    failed(
                        &self.device,
                        format!("option `{key}` is {value}"),
                        &format!("write {expected}"),
                    )
                })
            })
            .transpose()
    }

    /// A text that `read` understands.
    ///
    /// # Errors
    /// It is something else; `expected` says what it should be.
    pub fn text<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Option<T>, CaptureError> {
        self.get(key, expected, |value| value.as_str().and_then(&read))
    }

    /// Any text.
    ///
    /// # Errors
    /// It is something else.
    pub fn string(&self, key: &str) -> Result<Option<String>, CaptureError> {
        self.text(key, "a text in quotes", |text| Some(text.to_owned()))
    }

    /// A list of texts, such as a command and its arguments.
    ///
    /// # Errors
    /// It is something else.
    pub fn strings(&self, key: &str) -> Result<Option<Vec<String>>, CaptureError> {
        let expected = "a list of texts, such as [\"python3\", \"bridge.py\"]";
        self.get(key, expected, |value| {
            let texts = value.as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        })
    }

    /// True or false.
    ///
    /// # Errors
    /// It is something else.
    pub fn flag(&self, key: &str) -> Result<Option<bool>, CaptureError> {
        self.get(key, "true or false", toml::Value::as_bool)
    }

    /// A whole number within `range`.
    ///
    /// # Errors
    /// It is something else.
    pub fn whole(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Result<Option<i64>, CaptureError> {
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        self.get(key, &expected, |value| {
            value.as_integer().filter(|number| range.contains(number))
        })
    }

    /// Numbers, exactly `N` of them.
    ///
    /// # Errors
    /// It is something else.
    pub fn numbers<const N: usize>(&self, key: &str) -> Result<Option<[f64; N]>, CaptureError> {
        let number = |value: &toml::Value| {
            let whole = value.as_integer().map(|v| v as f64);
            value.as_float().or(whole).filter(|v| v.is_finite())
        };
        self.get(key, &format!("{N} numbers, such as [0, 0, 1]"), |value| {
            let numbers: Option<Vec<f64>> = value.as_array()?.iter().map(number).collect();
            numbers?.try_into().ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(text: &str) -> Device {
        Device {
            options: toml::from_str(text).expect("options"),
            ..Device::new("/tracker/wrist/pose", "natnet", "127.0.0.1:1510")
        }
    }

    #[test]
    fn what_is_not_known_is_refused_with_what_is() {
        let message = |devices: &[Device]| match Options::of(devices, &["up", "group"]) {
            Ok(_) => panic!("accepted"),
            Err(error) => error.to_string(),
        };
        let error = message(&[device("upp = 1")]);
        assert!(
            error.contains("`upp`") && error.contains("up, group"),
            "{error}"
        );
        let error = message(&[device("up = 1"), device("up = 2")]);
        assert!(error.contains("`up` differs"), "{error}");
    }

    #[test]
    fn values_are_read_or_refused() {
        let options = Options::of(
            &[device("a = [0, 1.5, 2]"), device("b = \"x\"\nc = true")],
            &["a", "b", "c"],
        )
        .expect("known");
        assert_eq!(
            options.numbers("a").expect("numbers"),
            Some([0.0, 1.5, 2.0])
        );
        assert!(options.numbers::<2>("a").is_err());
        assert_eq!(options.flag("c").expect("flag"), Some(true));
        assert!(options.whole("c", 0..=1).is_err());
        let only_y = |text: &str| (text == "y").then_some(());
        let error = options
            .text("b", "y", only_y)
            .expect_err("not y")
            .to_string();
        assert!(
            error.contains("`b`") && error.contains("write y"),
            "{error}"
        );
        assert_eq!(options.text("none", "y", only_y).expect("absent"), None);
    }
}
