//! Prompt generators. `ensemble` crosses states, templates and names; `llm` replays a prompt cache;
//! `hybrid` merges several sources. None reads anything from the network: `tool` makes the requests
//! that a host may send, and puts the replies into a cache.

pub mod ask;
pub mod cache;
mod ensemble;
mod file;
mod hybrid;
pub mod limits;
pub mod lint;
mod llm;
mod naming;
mod recall;
mod sets;
pub mod tool;
pub mod words;

use loupe_plugin::prelude::*;

use ensemble::Ensemble;
use hybrid::Hybrid;
use llm::Llm;

export!(prompts "ensemble" = Ensemble, prompts "llm" = Llm, prompts "hybrid" = Hybrid);
