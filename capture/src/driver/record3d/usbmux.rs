//! The daemon that speaks to iPhones on USB, and its protocol: a header of four
//! u32, little-endian (length with header, version 1, message 8, tag), then an XML
//! property list. After a successful `Connect` the socket is the connection to the
//! phone's port.
//! (libusbmuxd, `usbmuxd-proto.h` and `libusbmuxd.c`.)

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

/// Where the daemon listens.
pub const SOCKET: &str = "/var/run/usbmuxd";
const HEADER_BYTES: usize = 16;
const VERSION: u32 = 1;
const MESSAGE_PLIST: u32 = 8;
/// Answers are small: a list of phones.
const MAX_ANSWER_BYTES: usize = 1 << 20;
/// Property lists of the daemon are three deep.
const MAX_DEPTH: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);

/// A part of a property list.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Keys and values.
    Dict(BTreeMap<String, Value>),
    /// Values.
    Array(Vec<Value>),
    /// A number.
    Integer(i64),
    /// Anything that stands between two tags.
    Text(String),
}

impl Value {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Dict(dict) => dict.get(key),
            _ => None,
        }
    }

    fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            _ => None,
        }
    }

    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// A phone that the daemon knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// The daemon's number for it, until it is unplugged.
    pub id: i64,
    /// UDID, without the hyphen that Apple writes in newer ones.
    pub udid: String,
    /// On USB, not by Wi-Fi.
    pub usb: bool,
}

/// A message with its header.
pub fn encode(tag: u32, plist: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + plist.len());
    for word in [
        (HEADER_BYTES + plist.len()) as u32,
        VERSION,
        MESSAGE_PLIST,
        tag,
    ] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(plist.as_bytes());
    bytes
}

/// A property list with this inside.
pub fn plist(inside: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \
         \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n\
         <plist version=\"1.0\">\n{inside}\n</plist>\n"
    )
}

fn request(message: &str, more: &str) -> String {
    plist(&format!(
        "<dict><key>ClientVersionString</key><string>dexumi</string>\
         <key>MessageType</key><string>{message}</string>\
         <key>ProgName</key><string>dexumi</string>\
         <key>kLibUSBMuxVersion</key><integer>3</integer>{more}</dict>"
    ))
}

/// Which phones are there?
pub fn list_devices() -> String {
    request("ListDevices", "")
}

/// Connects to a TCP port of a phone. The port goes in network byte order.
pub fn connect(phone: i64, port: u16) -> String {
    let port = u16::from_be_bytes(port.to_le_bytes());
    let more = format!(
        "<key>DeviceID</key><integer>{phone}</integer><key>PortNumber</key><integer>{port}</integer>"
    );
    request("Connect", &more)
}

/// Reads a property list in XML, as libplist writes it: no attributes that matter,
/// no comments, no character data sections.
pub fn parse(text: &str) -> Option<Value> {
    let (_, inside) = text.split_once("<plist")?;
    let (_, inside) = inside.split_once('>')?;
    let mut rest = inside;
    let (name, empty) = tag(&mut rest)?;
    value(name, empty, &mut rest, 0)
}

/// The next tag: its name, and whether it ends itself.
fn tag<'a>(rest: &mut &'a str) -> Option<(&'a str, bool)> {
    let (_, from) = rest.split_once('<')?;
    let (tag, after) = from.split_once('>')?;
    *rest = after;
    let empty = tag.ends_with('/');
    let name = tag.trim_end_matches('/').split_whitespace().next()?;
    Some((name, empty))
}

/// What stands before the end tag of an element that has no others inside.
fn content(name: &str, rest: &mut &str) -> Option<String> {
    let (content, after) = rest.split_once("</")?;
    let after = after.strip_prefix(name)?;
    let (_, after) = after.split_once('>')?;
    *rest = after;
    let plain = content
        .replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&");
    Some(plain)
}

fn value(name: &str, empty: bool, rest: &mut &str, depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    match name {
        "dict" if empty => Some(Value::Dict(BTreeMap::new())),
        "dict" => {
            let mut dict = BTreeMap::new();
            loop {
                match tag(rest)? {
                    ("/dict", _) => return Some(Value::Dict(dict)),
                    ("key", false) => {
                        let key = content("key", rest)?;
                        let (name, empty) = tag(rest)?;
                        dict.insert(key, value(name, empty, rest, depth + 1)?);
                    }
                    _ => return None,
                }
            }
        }
        "array" if empty => Some(Value::Array(Vec::new())),
        "array" => {
            let mut array = Vec::new();
            loop {
                match tag(rest)? {
                    ("/array", _) => return Some(Value::Array(array)),
                    (name, empty) => array.push(value(name, empty, rest, depth + 1)?),
                }
            }
        }
        "integer" => content(name, rest)?.trim().parse().ok().map(Value::Integer),
        "true" | "false" if empty => Some(Value::Text(name.to_owned())),
        _ if name.starts_with('/') => None,
        _ if empty => Some(Value::Text(String::new())),
        _ => content(name, rest).map(Value::Text),
    }
}

/// The phones in the answer to [`list_devices`].
pub fn phones(answer: &Value) -> Vec<Phone> {
    let Some(Value::Array(list)) = answer.get("DeviceList") else {
        return Vec::new();
    };
    list.iter()
        .filter_map(|entry| {
            let properties = entry.get("Properties")?;
            Some(Phone {
                id: properties.get("DeviceID")?.integer()?,
                udid: properties.get("SerialNumber")?.text()?.replace('-', ""),
                usb: properties.get("ConnectionType")?.text()? == "USB",
            })
        })
        .collect()
}

/// The phone that is asked for, or the only one; else a sentence.
pub fn choose(phones: &[Phone], udid: &str) -> Result<Phone, String> {
    let wanted = udid.replace('-', "");
    let fits = |phone: &&Phone| {
        (wanted.is_empty() && phone.usb) || phone.udid.eq_ignore_ascii_case(&wanted)
    };
    let mut found: Vec<&Phone> = phones.iter().filter(fits).collect();
    // The same phone may be there by Wi-Fi too.
    found.sort_by_key(|phone| !phone.usb);
    let known = || {
        let all: Vec<_> = phones.iter().map(|phone| phone.udid.as_str()).collect();
        match all.is_empty() {
            true => "no phone is plugged in".to_owned(),
            false => format!("there are: {}", all.join(", ")),
        }
    };
    match &found[..] {
        [phone, ..] if !wanted.is_empty() => Ok((*phone).clone()),
        [phone] => Ok((*phone).clone()),
        [] if wanted.is_empty() => Err("no phone is plugged in".to_owned()),
        [] => Err(format!("no phone `{udid}`; {}", known())),
        _ => Err(format!("several phones are plugged in; {}", known())),
    }
}

/// Asks and waits for the answer.
fn ask(socket: &mut UnixStream, tag: u32, plist: &str) -> Result<Value, String> {
    let sent = socket.write_all(&encode(tag, plist));
    sent.map_err(|error| error.to_string())?;
    read_answer(socket)
}

/// Reads a message of the daemon, whatever its tag.
///
/// # Errors
/// The connection ended, or what came is no property list; in words for people.
pub fn read_answer(from: &mut impl Read) -> Result<Value, String> {
    let text = |error: std::io::Error| error.to_string();
    let mut header = [0; HEADER_BYTES];
    from.read_exact(&mut header).map_err(text)?;
    let length = u32::from_le_bytes(header[..4].try_into().expect("four bytes")) as usize;
    let body_bytes = length
        .checked_sub(HEADER_BYTES)
        .filter(|&bytes| bytes <= MAX_ANSWER_BYTES)
        .ok_or_else(|| format!("usbmuxd's answer has {length} bytes"))?;
    let mut body = vec![0; body_bytes];
    from.read_exact(&mut body).map_err(text)?;
    parse(&String::from_utf8_lossy(&body))
        .ok_or_else(|| "usbmuxd's answer is no property list".to_owned())
}

fn open(path: &Path) -> Result<UnixStream, String> {
    let socket = UnixStream::connect(path)
        .map_err(|error| format!("no usbmuxd at {} ({error})", path.display()))?;
    let limited = socket
        .set_read_timeout(Some(TIMEOUT))
        .and_then(|()| socket.set_write_timeout(Some(TIMEOUT)));
    limited.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// Connects to a TCP port of a phone, by UDID or the only one.
pub fn dial(path: &Path, udid: &str, port: u16) -> Result<(UnixStream, Phone), String> {
    let mut socket = open(path)?;
    let answer = ask(&mut socket, 1, &list_devices())?;
    let phone = choose(&phones(&answer), udid)?;
    // A new socket: this one becomes the connection.
    let mut socket = open(path)?;
    let answer = ask(&mut socket, 2, &connect(phone.id, port))?;
    match answer.get("Number").and_then(Value::integer) {
        Some(0) => Ok((socket, phone)),
        Some(2) => Err("the phone has just been unplugged".to_owned()),
        Some(3) => Err(format!("nothing on the phone listens at port {port}")),
        number => Err(format!("usbmuxd answers with {number:?}, expected 0")),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As usbmuxd 1.1.1 writes it.
    const LIST: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<!DOCTYPE plist PUBLIC \"-//Apple//DTD PLIST 1.0//EN\" \"http://www.apple.com/DTDs/PropertyList-1.0.dtd\">\n<plist version=\"1.0\">\n<dict>\n\t<key>DeviceList</key>\n\t<array>\n\t\t<dict>\n\t\t\t<key>DeviceID</key>\n\t\t\t<integer>3</integer>\n\t\t\t<key>MessageType</key>\n\t\t\t<string>Attached</string>\n\t\t\t<key>Properties</key>\n\t\t\t<dict>\n\t\t\t\t<key>ConnectionSpeed</key>\n\t\t\t\t<integer>480000000</integer>\n\t\t\t\t<key>ConnectionType</key>\n\t\t\t\t<string>USB</string>\n\t\t\t\t<key>DeviceID</key>\n\t\t\t\t<integer>3</integer>\n\t\t\t\t<key>LocationID</key>\n\t\t\t\t<integer>65542</integer>\n\t\t\t\t<key>ProductID</key>\n\t\t\t\t<integer>4776</integer>\n\t\t\t\t<key>SerialNumber</key>\n\t\t\t\t<string>00008110000A11223344801E</string>\n\t\t\t</dict>\n\t\t</dict>\n\t</array>\n</dict>\n</plist>\n";

    fn phone(id: i64, udid: &str, usb: bool) -> Phone {
        Phone {
            id,
            udid: udid.to_owned(),
            usb,
        }
    }

    #[test]
    fn the_daemon_s_list_is_read() {
        let phones = phones(&parse(LIST).expect("a list"));
        assert_eq!(phones, [phone(3, "00008110000A11223344801E", true)]);
        let chosen = choose(&phones, "00008110-000A11223344801e").expect("with its hyphen");
        assert_eq!(chosen.id, 3);
    }

    #[test]
    fn the_port_is_sent_in_network_order() {
        let value = parse(&connect(3, 1337)).expect("our own");
        assert_eq!(value.get("PortNumber"), Some(&Value::Integer(0x3905)));
        assert_eq!(
            value.get("MessageType"),
            Some(&Value::Text("Connect".to_owned()))
        );
        let bytes = encode(7, "<plist/>");
        assert_eq!(
            bytes[..16],
            [24, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 7, 0, 0, 0]
        );
    }

    #[test]
    fn the_right_phone_is_chosen_or_the_choice_is_told() {
        let both = [
            phone(1, "AA", false),
            phone(2, "AA", true),
            phone(3, "BB", true),
        ];
        assert_eq!(choose(&both, "aa").expect("the one on USB").id, 2);
        let text = choose(&both, "").expect_err("two on USB");
        assert!(text.contains("several") && text.contains("BB"), "{text}");
        assert_eq!(choose(&both[..2], "").expect("the only one on USB").id, 2);
        let text = choose(&both, "CC").expect_err("none");
        assert!(text.contains("`CC`") && text.contains("AA"), "{text}");
        assert!(choose(&[], "").expect_err("none").contains("plugged in"));
    }

    #[test]
    fn what_is_no_property_list_is_refused() {
        for text in [
            "",
            "<plist>",
            "<plist><dict>",
            "<plist><dict><key>a</key></dict></plist>",
            "<plist></dict></plist>",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        let deep = format!("<plist>{}", "<array>".repeat(100_000));
        assert_eq!(parse(&deep), None);
        assert_eq!(
            parse("<plist><string>a&amp;lt;b</string></plist>"),
            Some(Value::Text("a&lt;b".to_owned()))
        );
        assert_eq!(
            parse("<plist><array/></plist>"),
            Some(Value::Array(Vec::new()))
        );
    }

    proptest! {
        #[test]
        fn garbage_never_panics(text in "(<plist>)?(</?(dict|array|key|integer|string|true)/?>|[a&;<>/ 1]){0,40}") {
            let _ = parse(&text).map(|value| phones(&value));
        }
    }
}
