//! The packets, and the source with senders that a test leads.

mod bridges;
mod packets;
mod source;
