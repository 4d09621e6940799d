//! The whole program, as its users run it.

mod crash;
mod pipelines;
mod plugins;
mod run;
mod starter;
