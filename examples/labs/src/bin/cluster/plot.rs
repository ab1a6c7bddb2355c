//! Who has answered how much, over time.

use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;
use stonework::base::BoxError;

use crate::{END, NAMES, Run};

const STEP: Duration = Duration::from_millis(100);

/// A row for each way to pick, a line for each server.
pub(crate) fn draw(file: &Path, runs: &[(&str, Run)]) -> Result<(), BoxError> {
    let area = SVGBackend::new(file, (900, 320 * runs.len() as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (row, (title, run)) in area.split_evenly((runs.len(), 1)).iter().zip(runs) {
        let mut chart = ChartBuilder::on(row)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(32)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..END.as_secs_f64() + 0.5, 0.0..70.0)?;
        chart.configure_mesh().x_desc("seconds").y_desc("% of the requests").disable_mesh().draw()?;
        for (at, name) in NAMES.into_iter().enumerate() {
            let color = Palette99::pick(at).to_rgba();
            let steps = (0..).map(|step| STEP * step).take_while(|from| *from < END);
            let shares = steps.map(|from| (from.as_secs_f64(), 100.0 * run.share(at, from, from + STEP)));
            chart
                .draw_series(LineSeries::new(shares, color.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
        }
        chart.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    }
    area.present()?;
    Ok(())
}
