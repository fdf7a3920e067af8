//! Reading a partition: batches by offset, offsets by time.

use std::io;

use bytes::{Bytes, BytesMut};

use super::tail::ReadLimit;
use super::{
    AbortedTransaction, Isolation, OffsetAtTime, OffsetQuery, Partition, ReadBatches, ReadError,
    ReadRequest,
};
use crate::ids::Offset;
use crate::log::{Place, collect_aborted, find_batch};
use crate::records::{BatchHeader, BatchView, DecompressionScratch};
use crate::storage::read_full_at;

/// Most bytes that one read takes from disk, unless a single batch is larger.
const DISK_READ_BYTES_MAX: usize = 8 << 20;

impl Partition {
    /// Whole batches from the one containing `from`: out of memory when they are new, by `pread`
    /// else. Empty at the high watermark.
    ///
    /// # Errors
    /// [`ReadError::OutOfRange`] and [`ReadError::Offline`].
    pub fn read(&self, request: &ReadRequest) -> Result<ReadBatches, ReadError> {
        let mut state = self.state.lock();
        self.check_online().map_err(ReadError::Offline)?;
        let offsets = state.offsets();
        if request.from < offsets.log_start || request.from > offsets.log_end {
            return Err(ReadError::OutOfRange {
                requested: request.from,
                offsets,
            });
        }
        let end = match request.isolation {
            Isolation::ReadUncommitted => offsets.high_watermark,
            Isolation::ReadCommitted => offsets.last_stable,
        };
        let mut limit = ReadLimit {
            until: end,
            left: request.max_bytes,
            at_least_one: request.at_least_one,
            taken: 0,
        };
        // Taken under the same lock as the end: whatever is below it is settled.
        let aborted = match (request.isolation, state.log.as_ref()) {
            (Isolation::ReadCommitted, Some(log)) => log.aborted_from(request.from),
            _ => Default::default(),
        };
        let batches = if request.from >= end {
            Vec::new()
        } else if let Some(batches) = state.tail.read(request.from, &mut limit) {
            batches
        } else {
            let place = match state.log.as_mut() {
                Some(log) => log.place(request.from),
                None => return Err(ReadError::Offline("not opened".to_owned())),
            };
            self.note_open_file(&place);
            // The lock is not held while the disk works: what is appended stays where it is.
            drop(state);
            let read = place.and_then(|place| self.read_disk(place, request.from, &mut limit));
            read.map_err(|error| self.read_failed(request.from, &error))?
        };
        let until = batches
            .last()
            .and_then(|last| BatchHeader::parse(last).ok());
        let aborted = match until {
            Some(last) => {
                let until = Offset(last.last_offset().0.saturating_add(1));
                let storage = self.context.storage.as_ref();
                collect_aborted(aborted, request.from, until, storage)
                    .map_err(|error| self.read_failed(request.from, &error))?
            }
            None => Vec::new(),
        };
        Ok(ReadBatches {
            batches,
            bytes: limit.taken,
            offsets,
            aborted: aborted
                .into_iter()
                .map(|(producer_id, first_offset)| AbortedTransaction {
                    producer_id,
                    first_offset,
                })
                .collect(),
        })
    }

    /// Under the lock: to find a place in the active segment is to open its file.
    fn note_open_file(&self, place: &io::Result<Place>) {
        if matches!(place, Ok(Place::Active(..))) {
            self.context.files.opened(self);
        }
    }

    /// A segment that retention removed meanwhile is no fault.
    fn read_failed(&self, from: Offset, error: &io::Error) -> ReadError {
        let offsets = self.offsets();
        if from < offsets.log_start {
            return ReadError::OutOfRange {
                requested: from,
                offsets,
            };
        }
        tracing::error!(partition = %self.shown(), offset = %from, %error, "read failed");
        ReadError::Offline(format!("offset {from} could not be read: {error}"))
    }

    fn read_disk(
        &self,
        place: Place,
        from: Offset,
        limit: &mut ReadLimit,
    ) -> io::Result<Vec<Bytes>> {
        let context = &self.context;
        let mut place = place;
        let mut from = from;
        let (file, position, end, first) = loop {
            let (file, start, end) =
                place.resolve(from, context.storage.as_ref(), &context.open_segments)?;
            if let Some((position, first)) = find_batch(file.as_ref(), start, end, from)? {
                break (file, position, end, first);
            }
            // The batch that held it is gone from the end of this segment.
            let Some(next) = self.next_place(&place)? else {
                return Ok(Vec::new());
            };
            (place, from) = next;
        };
        let available = usize::try_from(end - position).unwrap_or(usize::MAX);
        let mut wanted = limit.left.min(DISK_READ_BYTES_MAX).min(available);
        if first.size() > wanted {
            if !limit.at_least_one || first.size() > available {
                return Ok(Vec::new());
            }
            wanted = first.size();
        }
        let mut buffer = BytesMut::zeroed(wanted);
        let read = read_full_at(file.as_ref(), &mut buffer, position)?;
        buffer.truncate(read);
        let mut bytes = buffer.freeze();
        let mut batches = Vec::new();
        while let Ok(header) = BatchHeader::parse(&bytes)
            && header.size() <= bytes.len()
            && limit.admits(header.base_offset, header.size())
        {
            batches.push(bytes.split_to(header.size()));
        }
        Ok(batches)
    }

    fn next_place(&self, place: &Place) -> io::Result<Option<(Place, Offset)>> {
        let Some(end) = place.sealed_end() else {
            return Ok(None);
        };
        let mut state = self.state.lock();
        let Some(log) = state.log.as_mut() else {
            return Ok(None);
        };
        let place = log.place(end);
        self.note_open_file(&place);
        Ok(Some((place?, end)))
    }

    /// The offset that ListOffsets asks for; `None` when no record has such a timestamp. May read
    /// the disk.
    ///
    /// # Errors
    /// [`ReadError::Offline`].
    pub fn offset_for(&self, query: OffsetQuery) -> Result<Option<OffsetAtTime>, ReadError> {
        let mut state = self.state.lock();
        self.check_online().map_err(ReadError::Offline)?;
        let offsets = state.offsets();
        let Some(log) = state.log.as_mut() else {
            return Err(ReadError::Offline("not opened".to_owned()));
        };
        let timestamp = match query {
            OffsetQuery::Earliest => {
                return Ok(Some(OffsetAtTime {
                    offset: offsets.log_start,
                    timestamp: -1,
                    leader_epoch: log.epochs().at(offsets.log_start),
                }));
            }
            OffsetQuery::Latest(isolation) => {
                let offset = match isolation {
                    Isolation::ReadUncommitted => offsets.high_watermark,
                    Isolation::ReadCommitted => offsets.last_stable,
                };
                return Ok(Some(OffsetAtTime {
                    offset,
                    timestamp: -1,
                    leader_epoch: offsets.leader_epoch,
                }));
            }
            OffsetQuery::MaxTimestamp => match log.max_timestamp() {
                Some(timestamp) => timestamp,
                None => return Ok(None),
            },
            OffsetQuery::Timestamp(timestamp) => timestamp,
        };
        let place = log.place_of_time(timestamp);
        if log.has_open_file() {
            self.context.files.opened(self);
        }
        drop(state);
        place
            .and_then(|place| self.find_timestamp(place, timestamp, offsets.log_start))
            .map_err(|error| self.read_failed(offsets.log_start, &error))
    }

    /// The first record at or after both `timestamp` and `log_start`, from `place` on.
    fn find_timestamp(
        &self,
        place: Option<(Place, Offset)>,
        timestamp: i64,
        log_start: Offset,
    ) -> io::Result<Option<OffsetAtTime>> {
        let context = &self.context;
        let mut scratch = DecompressionScratch::default();
        let mut next = place;
        while let Some((place, from)) = next {
            let storage = context.storage.as_ref();
            let indexed = place.offset_before(timestamp, storage, &context.open_segments)?;
            let mut from = indexed.unwrap_or(from).max(log_start);
            let (file, mut position, end) = place.resolve(from, storage, &context.open_segments)?;
            while let Some((at, header)) = find_batch(file.as_ref(), position, end, from)? {
                if header.max_timestamp >= timestamp {
                    let mut bytes = vec![0; header.size()];
                    let read = read_full_at(file.as_ref(), &mut bytes, at)?;
                    bytes.truncate(read);
                    let found = find_record(&bytes, timestamp, log_start, &mut scratch);
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                position = at + u64::try_from(header.size()).unwrap_or(u64::MAX);
                from = Offset(header.last_offset().0.saturating_add(1));
            }
            next = self.next_place(&place)?;
        }
        Ok(None)
    }
}

fn find_record(
    bytes: &[u8],
    timestamp: i64,
    log_start: Offset,
    scratch: &mut DecompressionScratch,
) -> Option<OffsetAtTime> {
    let (batch, _) = BatchView::parse(bytes).ok()?;
    let header = batch.header;
    for record in batch.records(scratch).ok()? {
        let record = record.ok()?;
        let offset = Offset(header.base_offset.0 + i64::from(record.offset_delta));
        let record_timestamp = if header.is_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp.saturating_add(record.timestamp_delta)
        };
        if record_timestamp >= timestamp && offset >= log_start {
            return Some(OffsetAtTime {
                offset,
                timestamp: record_timestamp,
                leader_epoch: header.leader_epoch,
            });
        }
    }
    None
}
