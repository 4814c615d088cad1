//! Settings of one driver alone, from a rig entry's `options`.

use dexumi_episode::Device;

use crate::error::CaptureError;

/// Options of an entry, all of known names.
pub(super) struct Options<'a> {
    device: &'a Device,
}

impl<'a> Options<'a> {
    /// Refuses names that the driver does not know, with those that it knows.
    pub fn of(device: &'a Device, known: &[&str]) -> Result<Self, CaptureError> {
        match device
            .options
            .keys()
            .find(|key| !known.contains(&key.as_str()))
        {
            None => Ok(Self { device }),
            Some(key) => Err(CaptureError::Open {
                stream: device.stream.clone(),
                address: device.address.clone(),
                problem: format!("driver `{}` has no option `{key}`", device.driver),
                next: match known {
                    [] => "remove it".to_owned(),
                    _ => format!("it has: {}", known.join(", ")),
                },
            }),
        }
    }

    fn wrong(&self, key: &str, expected: &str) -> CaptureError {
        let value = &self.device.options[key];
        CaptureError::Open {
            stream: self.device.stream.clone(),
            address: self.device.address.clone(),
            problem: format!("option `{key}` is {value}"),
            next: format!("expected {expected}"),
        }
    }

    fn read<T>(
        &self,
        key: &str,
        expected: &str,
        read: impl Fn(&'a toml::Value) -> Option<T>,
    ) -> Result<Option<T>, CaptureError> {
        match self.device.options.get(key) {
            None => Ok(None),
            Some(value) => read(value)
                .map(Some)
                .ok_or_else(|| self.wrong(key, expected)),
        }
    }

    /// A text.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>, CaptureError> {
        self.read(key, "a text in quotes", toml::Value::as_str)
    }

    /// Yes or no; no where it is not given.
    pub fn flag(&self, key: &str) -> Result<bool, CaptureError> {
        self.read(key, "true or false", toml::Value::as_bool)
            .map(|flag| flag.unwrap_or(false))
    }

    /// A list of texts, such as a command and its arguments.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>, CaptureError> {
        self.read(
            key,
            "a list of texts, such as [\"python3\", \"bridge.py\"]",
            |value| {
                let texts = value.as_array()?.iter();
                texts.map(|text| text.as_str().map(str::to_owned)).collect()
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_option_is_refused_with_the_known_ones() {
        let mut device = Device::new("/imu/wrist", "bridge", "child:oak");
        device.options.insert("comand".to_owned(), true.into());
        let error = Options::of(&device, &["command", "speed"]).err();
        let text = error.expect("misspelt").to_string();
        assert!(
            text.contains("`comand`") && text.contains("command, speed"),
            "{text}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused_with_the_right_one() {
        let mut device = Device::new("/imu/wrist", "bridge", "child:oak");
        device
            .options
            .insert("command".to_owned(), "python3".into());
        let options = Options::of(&device, &["command", "loop"]).expect("known");
        let text = options.texts("command").expect_err("no list").to_string();
        assert!(
            text.contains("python3") && text.contains("a list of texts"),
            "{text}"
        );
        assert!(!options.flag("loop").expect("absent"));
        assert_eq!(options.text("command").expect("a text"), Some("python3"));
    }
}
