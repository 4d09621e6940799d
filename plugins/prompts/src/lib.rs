//! Prompt generators. `ensemble` crosses states, templates and names; it reads nothing from the network.

mod ensemble;
mod sets;

use loupe_plugin::prelude::*;

use ensemble::Ensemble;

export!(prompts "ensemble" = Ensemble);
