use http::Extensions;

/// How much a request matters when there is too much to do: what is less important is refused first. A higher one is greater.
///
/// A request says it in its extensions; most say nothing, which is [`Interactive`](Self::Interactive).
///
/// ```
/// use http::Request;
/// use stonework::base::Priority;
///
/// let mut request = Request::new(());
/// assert_eq!(Priority::of(request.extensions()), Priority::Interactive);
/// request.extensions_mut().insert(Priority::Batch);
/// assert_eq!(Priority::of(request.extensions()), Priority::Batch);
/// assert!(Priority::Batch < Priority::Interactive && Priority::Interactive < Priority::Health);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Priority {
    /// Nobody waits for the answer: it can as well come later.
    Batch,
    /// Somebody waits for the answer. The default.
    #[default]
    Interactive,
    /// It asks whether the server is well, or keeps it so: it is never refused for there being too much to do.
    Health,
}

impl Priority {
    /// What a request says of itself.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}
