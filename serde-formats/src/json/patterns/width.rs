//! In how many places of a regular expression a text can be at once.
//!
//! An engine follows all of them for every character, so they are what matching costs: one in a
//! pattern whose next character always says where it goes on, as in `^https?://.{1,2000}$`, as many
//! as the pattern has where it does not, as in `(.*a){200}`. The answer is never too small; it may
//! be too large where characters beyond ASCII tell ways apart, all of which count as one here.

use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// Places that a text can be in at once.
pub(super) fn width(pattern: &Hir) -> u64 {
    let parts = match pattern.kind() {
        HirKind::Concat(parts) => parts.as_slice(),
        _ => std::slice::from_ref(pattern),
    };
    let is_anchored = is_anchored(pattern);
    let parts: Vec<Shape> = parts
        .iter()
        .enumerate()
        .map(|(index, part)| match part.kind() {
            // Any text that goes on after the least count is found already, or goes on elsewhere.
            HirKind::Repetition(repetition)
                if index + 1 == parts.len() || (index == 0 && !is_anchored) =>
            {
                repeated(
                    &Repetition {
                        max: Some(repetition.min),
                        ..repetition.clone()
                    },
                    shape,
                )
            }
            _ => shape(part),
        })
        .collect();
    let whole = in_sequence(&parts);
    if is_anchored {
        whole.width
    } else {
        whole.places
    }
}

/// Whether a match starts at the start of the text alone.
fn is_anchored(pattern: &Hir) -> bool {
    match pattern.kind() {
        HirKind::Look(look) => *look == Look::Start,
        HirKind::Capture(capture) => is_anchored(&capture.sub),
        HirKind::Concat(parts) => parts.first().is_some_and(is_anchored),
        HirKind::Alternation(parts) => parts.iter().all(is_anchored),
        _ => false,
    }
}

/// A set of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Characters {
    /// A bit for each character of ASCII.
    ascii: u128,
    /// There are others.
    has_other: bool,
}

impl Characters {
    const NONE: Self = Self {
        ascii: 0,
        has_other: false,
    };
    const ALL: Self = Self {
        ascii: u128::MAX,
        has_other: true,
    };

    const fn of(character: char) -> Self {
        if character.is_ascii() {
            Self {
                ascii: 1 << character as u32,
                has_other: false,
            }
        } else {
            Self {
                ascii: 0,
                has_other: true,
            }
        }
    }

    const fn and(self, other: Self) -> Self {
        Self {
            ascii: self.ascii | other.ascii,
            has_other: self.has_other | other.has_other,
        }
    }

    const fn meets(self, other: Self) -> bool {
        self.ascii & other.ascii != 0 || (self.has_other && other.has_other)
    }

    /// Adds a range of code points.
    fn add(&mut self, first: u32, last: u32) {
        for code in first..=last.min(127) {
            self.ascii |= 1 << code;
        }
        self.has_other |= last > 127;
    }
}

/// What a part of a pattern is like for the parts around it.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// What it can begin with.
    first: Characters,
    /// What it can go on with where it may also end; what it begins with too, if it may be empty.
    more: Characters,
    may_be_empty: bool,
    /// Characters of every text it matches, if that is one number.
    length: Option<u64>,
    /// Places at once, when it is entered once.
    width: u64,
    /// Places it has, repetitions counted.
    places: u64,
}

const EMPTY: Shape = Shape {
    first: Characters::NONE,
    more: Characters::NONE,
    may_be_empty: true,
    length: Some(0),
    width: 0,
    places: 0,
};

fn one_of(first: Characters) -> Shape {
    Shape {
        first,
        more: Characters::NONE,
        may_be_empty: false,
        length: Some(1),
        width: 1,
        places: 1,
    }
}

/// Recursion is as deep as the pattern nests, which its parser limits.
fn shape(part: &Hir) -> Shape {
    match part.kind() {
        HirKind::Empty | HirKind::Look(_) => EMPTY,
        HirKind::Literal(literal) => {
            let Ok(text) = std::str::from_utf8(&literal.0) else {
                return one_of(Characters::ALL);
            };
            let count = u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
            Shape {
                length: Some(count),
                places: count,
                ..one_of(text.chars().next().map_or(Characters::NONE, Characters::of))
            }
        }
        HirKind::Class(class) => {
            let mut set = Characters::NONE;
            match class {
                Class::Unicode(class) => {
                    for range in class.ranges() {
                        set.add(range.start().into(), range.end().into());
                    }
                }
                Class::Bytes(class) => {
                    for range in class.ranges() {
                        set.add(range.start().into(), range.end().into());
                    }
                }
            }
            one_of(set)
        }
        HirKind::Capture(capture) => shape(&capture.sub),
        HirKind::Repetition(repetition) => repeated(repetition, shape),
        HirKind::Concat(parts) => in_sequence(&parts.iter().map(shape).collect::<Vec<_>>()),
        HirKind::Alternation(parts) => {
            let mut parts = parts.iter().map(shape);
            let first = parts.next().unwrap_or(EMPTY);
            parts.fold(first, either)
        }
    }
}

fn either(a: Shape, b: Shape) -> Shape {
    let is_told_apart = !a.first.meets(b.first);
    let length = a.length.filter(|length| b.length == Some(*length));
    let more = a.more.and(b.more);
    let firsts = a.first.and(b.first);
    Shape {
        first: firsts,
        more: match (is_told_apart, a.may_be_empty || b.may_be_empty) {
            // One may go on where the other ends.
            (false, _) if length.is_none() => Characters::ALL,
            (_, true) => more.and(firsts),
            _ => more,
        },
        may_be_empty: a.may_be_empty || b.may_be_empty,
        length,
        width: if is_told_apart {
            a.width.max(b.width)
        } else {
            a.width.saturating_add(b.width)
        },
        places: a.places.saturating_add(b.places),
    }
}

fn repeated(repetition: &Repetition, shape: impl Fn(&Hir) -> Shape) -> Shape {
    let Repetition { min, max, .. } = *repetition;
    if max == Some(0) {
        return EMPTY;
    }
    let once = shape(&repetition.sub);
    let times = u64::from(max.unwrap_or(min).max(1));
    let places = once.places.saturating_mul(times);
    // Whether it is known at each character how often the part was there.
    let is_clear = !once.may_be_empty && (once.length.is_some() || !once.more.meets(once.first));
    let has_fixed_count = max == Some(min);
    Shape {
        first: once.first,
        more: if has_fixed_count && is_clear {
            once.more
        } else {
            once.more.and(once.first)
        },
        may_be_empty: min == 0 || once.may_be_empty,
        length: once
            .length
            .filter(|_| has_fixed_count)
            .map(|length| length.saturating_mul(times)),
        width: if is_clear || max == Some(1) {
            once.width
        } else {
            places
        },
        places,
    }
}

fn in_sequence(parts: &[Shape]) -> Shape {
    let mut whole = EMPTY;
    // From the last to the first: what is known of the rest is what a part is followed by.
    for part in parts.iter().rev() {
        let goes_on = if part.may_be_empty {
            part.more.and(part.first)
        } else {
            part.more
        };
        let is_handed_over =
            (part.length.is_some() && !part.may_be_empty) || !goes_on.meets(whole.first);
        let is_last = whole.places == 0;
        whole = Shape {
            first: if part.may_be_empty {
                part.first.and(whole.first)
            } else {
                part.first
            },
            more: match (is_handed_over || is_last, whole.may_be_empty) {
                (false, _) => Characters::ALL,
                (true, true) => whole.more.and(goes_on),
                (true, false) => whole.more,
            },
            may_be_empty: part.may_be_empty && whole.may_be_empty,
            length: part
                .length
                .zip(whole.length)
                .map(|(a, b)| a.saturating_add(b)),
            width: if is_handed_over {
                part.width.max(whole.width)
            } else {
                part.width.saturating_add(whole.places)
            },
            places: part.places.saturating_add(whole.places),
        };
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_at_once() {
        for (pattern, expected) in [
            ("", 0),
            ("abc", 3),
            ("^abc$", 1),
            (r"^[A-Z]{2}\d{1,64}$", 1),
            ("^.{1,2000}$", 1),
            (".{1,2000}", 1),
            ("a{1000}", 1000),
            (".{0,500}foo", 3),
            ("^https?://.{1,2000}$", 1),
            (r"^[^@]{1,64}@[^@]{1,255}$", 1),
            ("^(foo|bar)[0-9]{1,9}$", 1),
            (r"^([0-9]{1,3}\.){3}[0-9]{1,3}$", 1),
            (r"^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?$", 1),
            ("^(-?[0-9]+)(,-?[0-9]+){0,1000}$", 1),
            // The point may belong to the class or follow it.
            (r"^[a-z0-9.-]{1,255}\.[a-z]{2,63}$", 65),
            ("^.{0,1000}foo.{0,1000}$", 1004),
            ("^(a|ab)(c|bcd)$", 6),
            ("(.*a){200}", 400),
            ("^(.*a){200}$", 400),
            ("^(a{1,100}){1,100}$", 10_000),
            ("^(a?){500}$", 500),
            ("^(a{2}){1,500}$", 1),
            ("^(ab?){500}$", 1),
            ("^(ab?b){100}$", 300),
            ("^é{1,9}è{1,9}$", 10),
        ] {
            let hir = regex_syntax::parse(pattern).expect(pattern);
            assert_eq!(width(&hir), expected, "{pattern}");
        }
    }
}
