//! The packets, and the source with senders that a test leads.

mod packets;
mod source;
