//! The length prefix: `int32 length` followed by that many bytes.

/// Bytes of the prefix.
pub const PREFIX_BYTES: usize = 4;

/// The smallest request: API key, version and correlation id.
pub const REQUEST_BYTES_MIN: usize = 8;

/// Why a length prefix is refused before a byte of the frame is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Shorter than a request header, or negative.
    #[error("frame length {0} is below the smallest request of 8 bytes")]
    TooSmall(i32),
    /// Longer than `socket.request.max.bytes`.
    #[error("frame length {length} is above the limit of {limit} bytes")]
    TooLarge {
        /// What the peer announced.
        length: usize,
        /// `socket.request.max.bytes`.
        limit: usize,
    },
}

/// Length of the frame that `prefix` announces.
///
/// # Errors
/// When it is below 8 or above `limit`.
pub fn frame_length(prefix: [u8; PREFIX_BYTES], limit: usize) -> Result<usize, FrameError> {
    let announced = i32::from_be_bytes(prefix);
    match usize::try_from(announced) {
        Ok(length) if length >= REQUEST_BYTES_MIN => {
            if length <= limit {
                Ok(length)
            } else {
                Err(FrameError::TooLarge { length, limit })
            }
        }
        _ => Err(FrameError::TooSmall(announced)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_outside_the_limits_are_refused() {
        let cases: &[(i32, Result<usize, FrameError>)] = &[
            (8, Ok(8)),
            (100, Ok(100)),
            (
                101,
                Err(FrameError::TooLarge {
                    length: 101,
                    limit: 100,
                }),
            ),
            (7, Err(FrameError::TooSmall(7))),
            (0, Err(FrameError::TooSmall(0))),
            (-1, Err(FrameError::TooSmall(-1))),
            (i32::MIN, Err(FrameError::TooSmall(i32::MIN))),
        ];
        for (length, expected) in cases {
            assert_eq!(
                frame_length(length.to_be_bytes(), 100),
                *expected,
                "{length}"
            );
        }
    }
}
