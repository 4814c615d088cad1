//! The bytes against an independent implementation, and the source against a
//! server made of it.

mod bytes;
mod server;
