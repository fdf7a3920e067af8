//! Who a span is and whom it follows: trace and span ids, W3C Trace Context, sampling.
//!
//! Source: <https://www.w3.org/TR/trace-context/>, OpenTelemetry's `TraceIdRatioBased`.

/// A place in a trace, as `traceparent` names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace_id: [u8; 16],
    /// The span in it.
    pub span_id: [u8; 8],
    /// Whether its caller keeps the trace.
    pub is_sampled: bool,
}

impl TraceContext {
    /// Reads `00-<trace id>-<span id>-<flags>`; nothing where it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let version = hex::<1>(parts.next()?)?[0];
        let trace_id = hex::<16>(parts.next()?)?;
        let span_id = hex::<8>(parts.next()?)?;
        let flags = hex::<1>(parts.next()?)?[0];
        // Later versions may say more; this one may not.
        let is_whole = version != 0 || parts.next().is_none();
        let is_valid = version != 0xff && trace_id != [0; 16] && span_id != [0; 8];
        (is_whole && is_valid).then_some(Self {
            trace_id,
            span_id,
            is_sampled: flags & 1 == 1,
        })
    }

    /// A new span of a new trace.
    #[must_use]
    pub fn root() -> Self {
        Self {
            trace_id: rand::random(),
            span_id: rand::random(),
            is_sampled: false,
        }
    }

    /// A new span of the same trace.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            span_id: rand::random(),
            ..*self
        }
    }
}

/// Lower-case digits only, as the standard wants.
fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let digit = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// Which traces are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampler {
    /// Whether a caller's decision is taken over.
    pub follows_parent: bool,
    /// Share of the others that is kept, from 0 to 1.
    pub ratio: f64,
}

impl Sampler {
    /// Whether the trace is kept; the same for each of its spans, wherever it is asked.
    #[must_use]
    pub fn keeps(&self, trace_id: [u8; 16], parent: Option<bool>) -> bool {
        if let Some(is_sampled) = parent
            && self.follows_parent
        {
            return is_sampled;
        }
        let [.., a, b, c, d, e, f, g] = trace_id;
        // The seven random bytes of the standard, as a number from 0 to below 1: as many bits of them
        // as such a number holds, since rounding would make it 1.
        let drawn = u64::from_be_bytes([0, a, b, c, d, e, f, g]) >> (56 - f64::MANTISSA_DIGITS);
        #[expect(clippy::cast_precision_loss, reason = "it has as many bits as fit")]
        let drawn = drawn as f64 / (1_u64 << f64::MANTISSA_DIGITS) as f64;
        drawn < self.ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traceparents_are_read_by_the_standard() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let span = "b7ad6b7169203331";
        for (text, sampled) in [
            (format!("00-{trace}-{span}-01"), Some(true)),
            (format!("00-{trace}-{span}-00"), Some(false)),
            (format!("00-{trace}-{span}-03"), Some(true)),
            (format!("cc-{trace}-{span}-01-more"), Some(true)),
            (format!("00-{trace}-{span}-01-more"), None),
            (format!("ff-{trace}-{span}-01"), None),
            (format!("00-{}-{span}-01", "0".repeat(32)), None),
            (format!("00-{trace}-{}-01", "0".repeat(16)), None),
            (format!("00-{}-{span}-01", trace.to_uppercase()), None),
            (format!("00-{trace}-{span}"), None),
            (format!("00-{trace}-{span}é-01"), None),
            (String::new(), None),
        ] {
            let read = TraceContext::parse(&text);
            assert_eq!(read.map(|read| read.is_sampled), sampled, "{text}");
            if let Some(read) = read {
                assert_eq!(read.trace_id[..2], [0x0a, 0xf7]);
                assert_eq!(read.span_id[6..], [0x33, 0x31]);
            }
        }
    }

    #[test]
    fn samplers_follow_the_caller_or_the_ids() {
        let sampler = |follows_parent, ratio| Sampler {
            follows_parent,
            ratio,
        };
        let (low, high) = ([0; 16], [0xff; 16]);
        for (sampler, trace_id, parent, kept) in [
            (sampler(true, 1.0), high, None, true),
            (sampler(true, 1.0), high, Some(false), false),
            (sampler(true, 0.0), low, Some(true), true),
            (sampler(false, 1.0), high, Some(false), true),
            (sampler(false, 0.0), low, Some(true), false),
            (sampler(true, 0.5), low, None, true),
            (sampler(true, 0.5), high, None, false),
        ] {
            assert_eq!(
                sampler.keeps(trace_id, parent),
                kept,
                "{sampler:?} {parent:?}"
            );
        }
    }
}
