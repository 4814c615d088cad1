//! Device drivers, byte-level emulators and the recording session
