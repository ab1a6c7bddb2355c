//! Lines over time, as an SVG.

use std::path::Path;

use plotters::prelude::*;
use stonework::base::BoxError;

/// One chart, with a line for each thing that is compared.
#[derive(Clone, Debug)]
pub struct Chart {
    pub title: String,
    pub x: String,
    pub y: String,
    /// What is shown of `y` at most; else all of it.
    pub most: Option<f64>,
    pub lines: Vec<Line>,
}

#[derive(Clone, Debug)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// The charts, one below another.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(file: &Path, charts: &[Chart]) -> Result<(), BoxError> {
    let area = SVGBackend::new(file, (900, 320 * charts.len().max(1) as u32)).into_drawing_area();
    area.fill(&WHITE)?;
    for (row, chart) in area.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
        draw_one(row, chart)?;
    }
    area.present()?;
    Ok(())
}

fn draw_one(
    row: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    chart: &Chart,
) -> Result<(), BoxError> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let highest = points().map(|(_, y)| *y).fold(0.0, f64::max);
    let last = points().map(|(x, _)| *x).fold(0.0, f64::max);
    let first = points().map(|(x, _)| *x).fold(last, f64::min);
    let top = chart.most.unwrap_or(highest * 1.05).max(f64::MIN_POSITIVE);
    let mut drawn = ChartBuilder::on(row)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(32)
        .y_label_area_size(56)
        .build_cartesian_2d(first..last, 0.0..top)?;
    drawn.configure_mesh().x_desc(&chart.x).y_desc(&chart.y).disable_mesh().draw()?;
    for (at, line) in chart.lines.iter().enumerate() {
        let color = Palette99::pick(at).to_rgba();
        let points = line.points.iter().map(|(x, y)| (*x, y.min(top)));
        drawn
            .draw_series(LineSeries::new(points, color.stroke_width(2)))?
            .label(&line.name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], color));
    }
    drawn.configure_series_labels().background_style(WHITE).border_style(BLACK).draw()?;
    Ok(())
}
