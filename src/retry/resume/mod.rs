//! The rest of a download that broke off.

mod body;
mod error;
mod future;
mod layer;
mod range;
mod reading;
mod service;
mod settings;

pub use self::body::Resumed;
pub use self::error::{Changed, EndedEarly, NotResumed};
pub use self::future::ResumeFuture;
pub use self::layer::ResumeLayer;
pub use self::service::Resume;
pub use self::settings::{InvalidResume, ResumeSettings};
