//! dexumi
