//! What a language model is asked, and what becomes of its answer. Pure functions: a host sends the
//! requests and hands back the replies.

mod accept;
mod reply;
mod request;
mod template;

pub use accept::{AcceptError, Accepted, Dropped, accept};
pub use reply::{Answer, Reply, ReplyError, parse, usage};
pub use request::{Brief, BriefError, Request, digest, requests};
pub use template::{TEMPLATES, Template};

#[cfg(test)]
mod tests;
