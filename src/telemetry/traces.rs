//! Traces to an OpenTelemetry collector, by OTLP over HTTP; off unless the environment asks for them.
//!
//! Code says what is worth a span with `tracing` spans of the target [`TARGET`], which cost an atomic
//! load where nobody takes them. From there:
//!
//! | module | what |
//! |---|---|
//! | [`settings`] | the standard `OTEL_*` environment variables |
//! | [`context`] | ids, W3C `traceparent`, which traces are kept |
//! | [`layer`] | spans of `tracing` into spans of OpenTelemetry |
//! | [`otlp`] | the wire format |
//! | [`export`] | batches, and sending them |

pub mod context;
pub mod export;
pub mod layer;
pub mod otlp;
pub mod settings;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use export::Exporter;
use layer::SpanLayer;
use settings::TraceSettings;

/// Target of the spans that become traces.
pub const TARGET: &str = broker_core::SPAN_TARGET;

/// Traces on their way; spans are sent until [`Self::finish`].
#[derive(Debug)]
pub struct Traces {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Traces {
    /// Starts sending as the settings say; the layer is what spans come from.
    ///
    /// # Errors
    /// When the authorities of the collector's certificate cannot be read.
    pub fn start(settings: TraceSettings) -> Result<(Self, SpanLayer), String> {
        let (sender, spans) = mpsc::channel(settings.queue_max);
        let layer = SpanLayer::new(sender, settings.sampler);
        let exporter = Exporter::new(settings)?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(exporter.run(spans, stop.clone()));
        Ok((Self { stop, task }, layer))
    }

    /// Sends what is left and ends.
    pub async fn finish(self) {
        self.stop.cancel();
        if tokio::time::timeout(FINISH_MAX, self.task).await.is_err() {
            tracing::warn!("the last spans were not taken in {FINISH_MAX:?}");
        }
    }
}

/// A collector that does not answer holds up the stop no longer than this.
const FINISH_MAX: std::time::Duration = std::time::Duration::from_secs(2);
