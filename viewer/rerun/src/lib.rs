//! Logging dexumi episodes to Rerun
