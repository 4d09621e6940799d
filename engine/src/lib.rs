//! The engine of loupe: it owns every file, cache, device, thread, random number and decision; plugins are pure functions
//! on named tensors. The modules stand in the order of the data.

pub mod pipeline;
pub mod plugin;
pub mod data;
pub mod image;
pub mod cache;
pub mod run;
pub mod hooks;
pub mod map;
pub mod metrics;
pub mod eval;
pub mod experiment;
pub mod predict;
pub mod report;
pub mod weights;
pub mod files;
pub mod cli;
