//! The real binary from the outside, faults, files, architecture.

mod architecture;
