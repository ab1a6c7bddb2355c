//! Lines over time, as an SVG.

use std::fs;
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

/// Neither too light for paper nor too dark for a dark screen, and apart for those who see fewer colours, too.
const COLORS: [RGBColor; 8] = [
    RGBColor(0, 130, 200),
    RGBColor(224, 104, 20),
    RGBColor(0, 158, 115),
    RGBColor(204, 108, 170),
    RGBColor(140, 125, 230),
    RGBColor(178, 136, 0),
    RGBColor(214, 60, 72),
    RGBColor(128, 134, 140),
];

/// For the names of lines.
const NAMES_WIDTH: i32 = 300;

/// What is black on a light screen is light on a dark one.
const STYLE: &str = "<style>svg{color:#1f2328}@media(prefers-color-scheme:dark){svg{color:#d1d7e0}}</style>";

/// The charts, one below another, in letters and lines that can be read on a light and on a dark ground.
///
/// # Errors
///
/// If the file cannot be written.
pub fn draw(file: &Path, charts: &[Chart]) -> Result<(), BoxError> {
    let mut drawn = String::new();
    {
        let size = (1000, 320 * charts.len().max(1) as u32);
        let area = SVGBackend::with_string(&mut drawn, size).into_drawing_area();
        for (row, chart) in area.split_evenly((charts.len().max(1), 1)).iter().zip(charts) {
            draw_one(row, chart)?;
        }
        area.present()?;
    }
    let of_the_ground = drawn.replace("\"#000000\"", "\"currentColor\"");
    let end_of_head = of_the_ground.find('>').ok_or("no SVG")? + 1;
    let (head, rest) = of_the_ground.split_at(end_of_head);
    fs::write(file, format!("{head}\n{STYLE}{rest}"))?;
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
        .margin_right(NAMES_WIDTH)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(first..last, 0.0..top)?;
    let letters = ("sans-serif", 14);
    drawn.configure_mesh().x_desc(&chart.x).y_desc(&chart.y).label_style(letters).disable_mesh().draw()?;
    let left = (row.dim_in_pixel().0 as i32) - NAMES_WIDTH + 20;
    for (at, (line, color)) in chart.lines.iter().zip(COLORS.iter().cycle()).enumerate() {
        let points = line.points.iter().map(|(x, y)| (*x, y.min(top)));
        drawn.draw_series(LineSeries::new(points, color.stroke_width(2)))?;
        // Beside the lines, where it hides none of them.
        let middle = 50 + 20 * at as i32;
        row.draw(&PathElement::new([(left, middle), (left + 16, middle)], color.stroke_width(3)))?;
        row.draw(&Text::new(line.name.as_str(), (left + 22, middle - 7), letters))?;
    }
    Ok(())
}
