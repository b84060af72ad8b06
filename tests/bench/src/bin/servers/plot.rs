//! Bars in SVG: one group per workload, one colour per server.

use std::{error::Error, path::Path};

use plotters::{
    backend::SVGBackend,
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::combinators::IntoLogRange as _,
    drawing::IntoDrawingArea as _,
    element::{Rectangle, Text},
    style::{
        Color as _, IntoFont as _, Palette, Palette99, RGBColor, TextStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// A group of bars: its label, and a value for each server that has one.
pub(crate) struct Group {
    pub(crate) label: String,
    pub(crate) values: Vec<(String, f64)>,
}

/// What a chart shows.
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) unit: &'a str,
    /// Where the bars start. The scale is logarithmic, because servers differ by orders of
    /// magnitude; hence it is not 0.
    pub(crate) base: f64,
    pub(crate) groups: &'a [Group],
}

/// Room that a bar takes, in pixels.
const BAR: f64 = 28.0;
/// Room that the label of a group takes.
const LABEL: f64 = 200.0;
/// Room to the right of the bars, for the legend.
const LEGEND: f64 = 180.0;
/// Room for the axis and the margins.
const AXIS: f64 = 90.0;
const HEIGHT: u32 = 460;

/// Draws the chart into a file; nothing to show makes no file.
pub(crate) fn draw(path: &Path, chart: &Chart<'_>) -> Result<(), Box<dyn Error>> {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in chart.groups.iter().flat_map(|group| &group.values) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    // Nothing at all has no place on a logarithmic scale.
    let shown = |value: f64| value.max(chart.base / 4.0);
    let values = || chart.groups.iter().flat_map(|group| &group.values);
    let extreme = |f: fn(f64, f64) -> f64| {
        values().fold(chart.base, |extreme, &(_, value)| f(extreme, shown(value)))
    };
    let (low, high) = (extreme(f64::min), extreme(f64::max));

    // A group is as wide as all servers and a gap.
    let group_width = names.len() as f64 + 1.0;
    let bars_end = group_width * chart.groups.len() as f64;
    let bars_width = (BAR * group_width).max(LABEL) * chart.groups.len() as f64;
    let legend = bars_end * LEGEND / bars_width;
    let width = bars_width + LEGEND + AXIS;
    let area = SVGBackend::new(path, (width as u32, HEIGHT)).into_drawing_area();
    area.fill(&RGBColor(255, 255, 255))?;
    let mut context = ChartBuilder::on(&area)
        .caption(chart.title, ("sans-serif", 22))
        .margin(12)
        .x_label_area_size(28)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..bars_end + legend, (low / 1.1..high * 1.3).log_scale())?;
    context
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .y_desc(chart.unit)
        .label_style(("sans-serif", 15))
        .y_label_formatter(&|value| short(*value))
        .draw()?;

    let text = |size: u32, vertical| {
        TextStyle::from(("sans-serif", size).into_font()).pos(Pos::new(HPos::Center, vertical))
    };
    for (index, name) in names.iter().enumerate() {
        let color = Palette99::pick(index).to_rgba();
        let bars = chart.groups.iter().enumerate().filter_map(|(at, group)| {
            let (_, value) = group.values.iter().find(|value| value.0 == *name)?;
            let left = at as f64 * group_width + 0.5 + index as f64;
            Some((left, *value))
        });
        let bars: Vec<(f64, f64)> = bars.collect();
        context
            .draw_series(bars.iter().map(|&(left, value)| {
                Rectangle::new(
                    [(left, chart.base), (left + 0.9, shown(value))],
                    color.filled(),
                )
            }))?
            .label(*name)
            .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], color.filled()));
        context.draw_series(bars.iter().map(|&(left, value)| {
            let top = value.max(chart.base) * 1.02;
            Text::new(short(value), (left + 0.45, top), text(13, VPos::Bottom))
        }))?;
    }
    context.draw_series(chart.groups.iter().enumerate().map(|(at, group)| {
        let middle = (at as f64 + 0.5) * group_width;
        let bottom = (middle, low / 1.12);
        Text::new(group.label.clone(), bottom, text(16, VPos::Top))
    }))?;
    context
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(RGBColor(255, 255, 255).mix(0.8))
        .border_style(RGBColor(160, 160, 160))
        .label_font(("sans-serif", 15))
        .draw()?;
    area.present()?;
    Ok(())
}

/// As many digits as a label has room for.
fn short(value: f64) -> String {
    match value {
        small if small < 9.95 => format!("{small:.2}"),
        medium if medium < 999.5 => format!("{medium:.0}"),
        large if large < 999_500.0 => format!("{:.0}k", large / 1e3),
        huge => format!("{:.1}M", huge / 1e6),
    }
}
