//! The `extern "C"` side of every component: one set of shims, generic over the author's traits.

pub(crate) mod call;
pub(crate) mod component;
pub(crate) mod fit;
pub(crate) mod guard;
pub(crate) mod kinds;
pub(crate) mod raw;
pub(crate) mod sink;
pub(crate) mod taps;
pub(crate) mod tool;
pub(crate) mod train;
