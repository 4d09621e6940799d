//! What can go wrong in a component, and the status it becomes at the boundary.

use std::fmt::Display;

use crate::abi;

pub type Result<T, E = Error> = core::result::Result<T, E>;

/// An error of a component. The host adds the component's and the stage's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("{message}")]
    Failed { message: String },
    #[error("{message}")]
    Config { message: String },
    #[error("{message}")]
    Input { message: String },
    #[error("`{what}` wants {want}, but got {got}")]
    Shape { what: String, want: String, got: String },
    #[error("`{what}` is empty, but at least one is needed")]
    Empty { what: String },
    #[error("input `{port}` is missing; connect a value to it")]
    Missing { port: String },
    #[error("this component has no {direction} `{port}`; it declares {declared}")]
    NoPort { port: String, direction: &'static str, declared: String },
    #[error("tensor on {device} offered to a component that computes on the CPU; copy it first")]
    Device { device: String },
    #[error("{what} is not supported by this component")]
    Unsupported { what: String },
    #[error("cancelled")]
    Cancelled,
    #[error("panicked: {message}")]
    Panic { message: String },
}

impl Error {
    /// A failure with no better name, from any message or foreign error.
    pub fn failed(message: impl Display) -> Self {
        Error::Failed { message: message.to_string() }
    }

    /// A config that passes the schema and still makes no sense.
    pub fn config(message: impl Display) -> Self {
        Error::Config { message: message.to_string() }
    }

    /// An input that this component cannot take.
    pub fn input(message: impl Display) -> Self {
        Error::Input { message: message.to_string() }
    }

    pub fn shape(what: impl Display, want: impl Display, got: impl Display) -> Self {
        Error::Shape { what: what.to_string(), want: want.to_string(), got: got.to_string() }
    }

    pub fn empty(what: impl Display) -> Self {
        Error::Empty { what: what.to_string() }
    }

    pub fn unsupported(what: impl Display) -> Self {
        Error::Unsupported { what: what.to_string() }
    }

    /// The status that crosses the boundary with the message.
    pub fn status(&self) -> i32 {
        match self {
            Error::Failed { .. } | Error::NoPort { .. } => abi::LOUPE_ERROR,
            Error::Config { .. } => abi::LOUPE_BAD_CONFIG,
            Error::Input { .. } | Error::Shape { .. } | Error::Empty { .. } => abi::LOUPE_BAD_INPUT,
            Error::Missing { .. } | Error::Device { .. } => abi::LOUPE_BAD_INPUT,
            Error::Unsupported { .. } => abi::LOUPE_UNSUPPORTED,
            Error::Cancelled => abi::LOUPE_CANCELLED,
            Error::Panic { .. } => abi::LOUPE_PANIC,
        }
    }
}
