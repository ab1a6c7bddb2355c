//! Means of several runs, and how far they are from what more runs would show.

use std::fmt;

/// A mean over the seeds, and half of its 95 % confidence interval. `{:.2}` says how many digits of both are shown.
#[derive(Clone, Copy, Debug)]
pub struct Mean {
    pub mean: f64,
    pub within: f64,
    pub least: f64,
    pub most: f64,
}

impl Mean {
    /// Of one number for each seed.
    #[must_use]
    pub fn of(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
        Self {
            mean,
            within: student(values.len()) * (variance / n).sqrt(),
            least: values.iter().copied().fold(f64::INFINITY, f64::min),
            most: values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        }
    }
}

impl fmt::Display for Mean {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(3);
        write!(f, "{:.digits$} ±{:.digits$}", self.mean, self.within)
    }
}

/// Student's t, two-sided 95 %, for so many values; from four on by the series of Cornish and Fisher, which is good to a percent there.
fn student(values: usize) -> f64 {
    const Z: f64 = 1.959_964;
    match values {
        // One says nothing of how far others are.
        0 | 1 => return f64::NAN,
        2 => return 12.706,
        3 => return 4.303,
        _ => {}
    }
    let free = (values - 1) as f64;
    let (z3, z5, z7) = (Z.powi(3), Z.powi(5), Z.powi(7));
    Z + (z3 + Z) / (4.0 * free)
        + (5.0 * z5 + 16.0 * z3 + 3.0 * Z) / (96.0 * free.powi(2))
        + (3.0 * z7 + 19.0 * z5 + 17.0 * z3 - 15.0 * Z) / (384.0 * free.powi(3))
}

/// The value below which this part of all is, from 0 to 1. It sorts them.
#[must_use]
pub fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}
