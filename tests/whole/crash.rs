//! What a run leaves when it is killed, when the disk is full, when it is interrupted and when it
//! is not alone: never anything that a later run could take for whole.

mod bench;
mod disk;
mod interrupt;
pub(crate) mod kill;
mod same;
mod sharing;
mod shim;
