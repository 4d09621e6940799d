//! What models are tested on: families and defects that no training may see.
//!
//! They are made with code of their own. All they share with `training` is noise, drawing and the
//! types that both fill in.

mod defects;
mod families;

pub(super) use defects::DEFECTS;
pub(super) use families::FAMILIES;
