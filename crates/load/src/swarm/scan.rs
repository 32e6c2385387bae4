//! Finding a number or a word in a frame, without parsing the rest of it.

/// Markers are looked for in so many bytes: the server writes them before payloads.
const NEAR: usize = 384;

fn behind<'a>(payload: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    let near = &payload[..payload.len().min(NEAR)];
    let at = near.windows(marker.len()).position(|window| window == marker)?;
    Some(&payload[at + marker.len()..])
}

/// The number at the very beginning, and what is behind it.
pub(super) fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = text[..digits].iter().fold(0u64, |number, digit| {
        number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
    });
    (digits > 0).then_some((number, &text[digits..]))
}

/// The digits right behind `marker`, looked for near the beginning.
pub(super) fn number_after(payload: &[u8], marker: &[u8]) -> Option<u64> {
    leading_number(behind(payload, marker)?).map(|(number, _)| number)
}

/// What is behind `marker` up to the next quotation mark.
pub(super) fn text_after<'a>(payload: &'a [u8], marker: &[u8]) -> Option<&'a [u8]> {
    let text = behind(payload, marker)?;
    let end = text.iter().position(|byte| *byte == b'"')?;
    Some(&text[..end])
}

/// An event as this program needs it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Event<'a> {
    pub(super) room: &'a [u8],
    pub(super) offset: u64,
    /// The intended time that its publisher wrote into it.
    pub(super) intended: Option<u64>,
}

pub(super) const EVENT: &[u8] = b"{\"event\":{\"room\":\"";

/// Reads `{"event":{"room":"…","offset":…,"data":{"t":…`.
pub(super) fn event(payload: &[u8]) -> Option<Event<'_>> {
    let rest = payload.strip_prefix(EVENT)?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let (room, rest) = rest.split_at(end);
    let (offset, rest) = leading_number(rest.strip_prefix(b"\",\"offset\":")?)?;
    Some(Event {
        room,
        offset,
        intended: number_after(rest, b"{\"t\":"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_and_times_are_found_where_the_server_writes_them() {
        let text = br#"{"event":{"room":"load:hot","offset":42,"data":{"t":1234567,"p":"x"},"from":"a"}}"#;
        let found = event(text).unwrap();
        assert_eq!((found.room, found.offset), (&b"load:hot"[..], 42));
        assert_eq!(found.intended, Some(1_234_567));
        assert_eq!(event(br#"{"event":{"room":"load:hot"}}"#), None);
        assert_eq!(number_after(b"{}", b"\"offset\":"), None);
        assert_eq!(number_after(b"\"offset\":x", b"\"offset\":"), None);
        assert_eq!(
            text_after(br#"{"gap":{"reason":"dropped"}}"#, b"\"reason\":\""),
            Some(&b"dropped"[..])
        );
        assert_eq!(text_after(b"\"reason\":\"dro", b"\"reason\":\""), None);
    }
}
