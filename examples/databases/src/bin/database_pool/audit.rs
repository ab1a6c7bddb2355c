//! What is found in the database at the end.

/// What the tables hold.
pub(crate) struct Audit {
    pub(crate) money: i64,
    /// Seats and who has them, by seat. A seat that was sold twice is in it twice.
    pub(crate) sold: Vec<(i64, i64)>,
}

impl Audit {
    pub(crate) fn each_once(&self) -> bool {
        self.sold.windows(2).all(|two| two[0].0 < two[1].0)
    }
}
