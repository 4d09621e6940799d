//! The whole program, as its users run it.

mod crash;
mod pipelines;
mod plugins;
mod prompts;
mod run;
mod starter;
mod training;
