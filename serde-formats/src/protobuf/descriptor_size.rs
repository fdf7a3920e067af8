//! What a serialized descriptor holds, counted before anything is built of it: two bytes of it can
//! make a message of a hundred.

use prost_reflect::{Kind, MessageDescriptor};

use crate::schema::ParseError;

/// Most messages in a descriptor: fields, types and options are one each.
const MESSAGES_MAX: usize = 40_000;
/// Most values in a descriptor, elements of packed fields counted alone.
const VALUES_MAX: usize = 400_000;

/// Refuses a descriptor that holds too much.
///
/// # Errors
/// Past a limit; bytes that are no message are left to the decoder.
pub(super) fn check(descriptor: &MessageDescriptor, bytes: &[u8]) -> Result<(), ParseError> {
    let (mut messages, mut values) = (0_usize, 0_usize);
    let mut open: Vec<(MessageDescriptor, &[u8])> = vec![(descriptor.clone(), bytes)];
    while let Some((descriptor, mut rest)) = open.pop() {
        messages += 1;
        while let Some((number, value)) = field(rest) {
            rest = value.after;
            values += 1;
            let kind = descriptor
                .get_field(number)
                .map(|known| known.kind())
                .or_else(|| Some(descriptor.get_extension(number)?.kind()));
            match (kind, value.content) {
                (Some(Kind::Message(inner)), Some(content)) => open.push((inner, content)),
                (Some(Kind::String | Kind::Bytes) | None, _) | (_, None) => {}
                (Some(_), Some(packed)) => values += packed.len(),
            }
            if messages + open.len() > MESSAGES_MAX || values > VALUES_MAX {
                return Err(ParseError::new(format!(
                    "the descriptor holds more than {MESSAGES_MAX} messages or {VALUES_MAX} values"
                )));
            }
        }
    }
    Ok(())
}

/// A field's value in the bytes of its message.
struct FieldBytes<'b> {
    /// What its length spans, if it has one.
    content: Option<&'b [u8]>,
    after: &'b [u8],
}

/// Number and value of the first field; `None` at the end or where the bytes are no field.
fn field(bytes: &[u8]) -> Option<(u32, FieldBytes<'_>)> {
    let (tag, rest) = varint(bytes)?;
    let number = u32::try_from(tag >> 3).ok()?;
    let mut content = None;
    let after = match tag & 7 {
        0 => varint(rest)?.1,
        1 => rest.get(8..)?,
        2 => {
            let (length, rest) = varint(rest)?;
            let (own, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            content = Some(own);
            after
        }
        5 => rest.get(4..)?,
        // Tags of groups hold nothing themselves.
        3 | 4 => rest,
        _ => return None,
    };
    Some((number, FieldBytes { content, after }))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(*byte & 0x7f).checked_shl(u32::try_from(index).ok()? * 7)?;
        if *byte < 0x80 {
            return Some((value, bytes.get(index + 1..)?));
        }
    }
    None
}
