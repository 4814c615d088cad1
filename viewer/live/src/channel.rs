//! A topic that viewers can subscribe to, with the type of its messages.

use std::{marker::PhantomData, sync::Arc};

use dexumi_episode::{SessionTime, schema::Record};
use foxglove::{Context, PartialMetadata, RawChannel, Schema};

use crate::LiveError;

/// A topic of messages of one schema.
pub(crate) struct Channel<M> {
    raw: Arc<RawChannel>,
    message: PhantomData<fn() -> M>,
}

impl<M> Clone for Channel<M> {
    fn clone(&self) -> Self {
        Self {
            raw: self.raw.clone(),
            message: PhantomData,
        }
    }
}

impl<M: Record> Channel<M> {
    /// Offers a topic, with the metadata that it has in a file.
    pub fn new(
        context: &Arc<Context>,
        topic: &str,
        metadata: &[(&str, String)],
    ) -> Result<Self, LiveError> {
        let metadata = metadata
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        let raw = context
            .channel_builder(topic)
            .message_encoding("protobuf")
            .schema(Schema::new(M::SCHEMA, "protobuf", M::descriptors()))
            .metadata(metadata)
            .build_raw()
            .map_err(|source| LiveError::Topic {
                topic: topic.to_owned(),
                source,
            })?;
        Ok(Self {
            raw,
            message: PhantomData,
        })
    }

    /// Whether anybody has subscribed.
    pub fn is_wanted(&self) -> bool {
        self.raw.has_sinks()
    }

    /// Sends a message, which is made only where somebody has subscribed.
    pub fn send(&self, log: SessionTime, message: impl FnOnce() -> M) {
        if self.is_wanted() {
            log_at(&self.raw, log, &message().encode_to_vec());
        }
    }
}

/// A topic of JSON objects.
pub(crate) struct JsonChannel(Arc<RawChannel>);

impl JsonChannel {
    /// Offers a topic.
    pub fn new(context: &Arc<Context>, topic: &str, schema: &str) -> Result<Self, LiveError> {
        let raw = context
            .channel_builder(topic)
            .message_encoding("json")
            .schema(Schema::new(
                schema,
                "jsonschema",
                br#"{"type":"object"}"#.as_slice(),
            ))
            .build_raw()
            .map_err(|source| LiveError::Topic {
                topic: topic.to_owned(),
                source,
            })?;
        Ok(Self(raw))
    }

    /// Sends a message, which is made only where somebody has subscribed.
    pub fn send(&self, log: SessionTime, message: impl FnOnce() -> serde_json::Value) {
        if self.0.has_sinks() {
            log_at(&self.0, log, message().to_string().as_bytes());
        }
    }
}

fn log_at(channel: &RawChannel, log: SessionTime, bytes: &[u8]) {
    let nanos = u64::try_from(log.nanos()).unwrap_or(0);
    channel.log_with_meta(bytes, PartialMetadata::with_log_time(nanos));
}
