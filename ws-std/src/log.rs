//! What logs may show: secrets redacted, control characters escaped, lines of bounded length.

use std::fmt::Write;

/// The lines of an HTTP head, fit for a log.
pub(crate) fn head_lines(head: &[u8]) -> impl Iterator<Item = String> {
    head.split(|&byte| byte == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .enumerate()
        .map(|(number, line)| {
            let line = String::from_utf8_lossy(line);
            if number == 0 {
                elide(&redact_query(&line))
            } else {
                head_line(&line)
            }
        })
}

/// One header, as it may be shown.
pub(crate) fn head_line(line: &str) -> String {
    elide(&redact_header(line))
}

/// At most [`LINE`] characters, without any that a terminal would obey.
pub(crate) fn elide(text: &str) -> String {
    let mut line = escape(text);
    if let Some((end, _)) = line.char_indices().nth(LINE) {
        line.truncate(end);
        line.push('…');
    }
    line
}

/// A text that a peer wrote, fit for a terminal or a log: control characters, and those that change
/// the direction of others (CVE-2021-42574), are written as escapes.
///
/// ```
/// assert_eq!(ws_std::escape("caf\u{e9}\u{1b}[2J\n"), "caf\u{e9}\\u{1b}[2J\\n");
/// ```
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        let is_bidi = matches!(
            character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        );
        if character.is_control() || is_bidi {
            let _ = write!(escaped, "{}", character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// As Python `websockets` elides frames.
const LINE: usize = 75;

const SECRET_HEADERS: &[&str] = &[
    "Authorization",
    "Proxy-Authorization",
    "Cookie",
    "Set-Cookie",
    "X-API-Key",
];

const SECRET_PARAMETERS: &[&str] = &["token", "key", "access_token"];

fn redact_header(line: &str) -> String {
    let Some((name, value)) = line.split_once(':') else {
        return line.to_owned();
    };
    let is_secret = SECRET_HEADERS
        .iter()
        .any(|secret| name.eq_ignore_ascii_case(secret))
        // Browsers cannot send headers, so tokens are smuggled as a subprotocol.
        || name.eq_ignore_ascii_case("Sec-WebSocket-Protocol")
            && value.to_ascii_lowercase().contains("bearer");
    if is_secret {
        format!("{name}: [redacted]")
    } else {
        line.to_owned()
    }
}

fn redact_query(line: &str) -> String {
    let Some((path, rest)) = line.split_once('?') else {
        return line.to_owned();
    };
    let (query, version) = rest.split_once(' ').unwrap_or((rest, ""));
    let mut redacted = format!("{path}?");
    for (number, parameter) in query.split('&').enumerate() {
        if number > 0 {
            redacted.push('&');
        }
        match parameter.split_once('=') {
            Some((name, _)) if SECRET_PARAMETERS.contains(&name) => {
                let _ = write!(redacted, "{name}=[redacted]");
            }
            _ => redacted.push_str(parameter),
        }
    }
    if !version.is_empty() {
        let _ = write!(redacted, " {version}");
    }
    redacted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_redacted_and_control_characters_escaped() {
        let head = b"GET /?a=1&token=s3cret&b HTTP/1.1\r\nauthorization: Basic s3cret\r\n\
            Sec-WebSocket-Protocol: bearer, s3cret\r\nX: \x1b[2J\xe2\x80\xae\r\n\r\n";
        let lines: Vec<_> = head_lines(head).collect();
        assert_eq!(
            lines,
            [
                "GET /?a=1&token=[redacted]&b HTTP/1.1",
                "authorization: [redacted]",
                "Sec-WebSocket-Protocol: [redacted]",
                "X: \\u{1b}[2J\\u{202e}",
            ]
        );
    }

    #[test]
    fn long_lines_are_elided() {
        let line = elide(&"é".repeat(100));
        assert_eq!(line.chars().count(), LINE + 1);
    }
}
