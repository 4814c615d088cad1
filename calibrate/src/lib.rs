//! Calibration procedures
