//! Lanes as an SVG picture. Places along the axis are percents, so that it fits any window without
//! shrinking its letters.

use super::{
    escape,
    lanes::{Bar, Fault, Lane, Mark, NAMED, Row, Tick, between},
    scale::{Scale, Section, roughly, span},
};
use crate::timeline::stamp;

/// How high the axis is, and the gap between two lanes.
const AXIS: u32 = 38;
const GAP: u32 = 6;

/// How wide the picture is taken to be, in pixels, where that decides what has room.
const WIDTH: f64 = 980.0;
const LETTER: f64 = 6.4;

/// How long a line may be in a tooltip.
const LINE: usize = 220;

/// The names of the lanes, and beside them the picture.
pub(super) fn draw(lanes: &[Lane], lies: &[Bar], scale: &Scale) -> String {
    let (mut top, mut names, mut body) = (AXIS, String::new(), String::new());
    for (index, lane) in lanes.iter().enumerate() {
        let height = lane_height(lane);
        let faint = if lane.heard { "" } else { " faint" };
        let about = match lane.heard {
            true => lane.about,
            false => "not asked here",
        };
        names += &format!(
            "<div class=\"name{faint}\" style=\"height:{height}px\">{}<small>{about}</small></div>",
            lane.name
        );
        if index % 2 == 0 {
            body +=
                &format!("<rect class=\"stripe\" y=\"{top}\" width=\"100%\" height=\"{height}\"/>");
        }
        top += height;
    }
    let bottom = top;
    body += &axis(scale, bottom);
    body += &lies
        .iter()
        .map(|lie| band(lie, scale, bottom))
        .collect::<String>();
    body += &looks(lanes, scale, bottom);
    let mut top = AXIS;
    for lane in lanes {
        let faint = if lane.heard { "" } else { " class=\"faint\"" };
        body += &format!("<g{faint}>{}</g>\n", rows(lane, scale, top));
        top += lane_height(lane);
    }
    format!(
        "<figure class=\"chart\"><div class=\"names\"><div style=\"height:{AXIS}px\">UTC</div>{names}</div>\n\
         <svg class=\"plot\" height=\"{bottom}\" role=\"group\" aria-label=\"timeline; the table below tells the same\">\n{body}</svg></figure>\n"
    )
}

fn lane_height(lane: &Lane) -> u32 {
    let rows: u32 = lane.rows.iter().map(row_height).sum();
    // Two lines of letters beside it.
    (rows + GAP).max(40)
}

fn row_height(row: &Row) -> u32 {
    match row {
        Row::Bars(_) | Row::Words(_) => 24,
        Row::Ticks(_) => 16,
        Row::Marks(_) => 28,
    }
}

fn rows(lane: &Lane, scale: &Scale, top: u32) -> String {
    let rows: u32 = lane.rows.iter().map(row_height).sum();
    let mut top = top + (lane_height(lane) - rows) / 2;
    let mut drawn = String::new();
    for row in &lane.rows {
        drawn += &match row {
            Row::Bars(bars) => bars.iter().map(|bar| draw_bar(bar, scale, top)).collect(),
            Row::Ticks(ticks) => draw_ticks(ticks, scale, top),
            Row::Marks(marks) => marks
                .iter()
                .map(|mark| draw_mark(mark, scale, top))
                .collect(),
            Row::Words(words) => {
                format!(
                    "<text class=\"words\" x=\"8\" y=\"{}\">{words}</text>",
                    top + 16
                )
            }
        };
        top += row_height(row);
    }
    drawn
}

fn percent(x: f64) -> String {
    format!("{x:.2}%")
}

fn axis(scale: &Scale, bottom: u32) -> String {
    let mut drawn: String = scale
        .sections
        .iter()
        .filter(|section| section.squeezed)
        .map(|section| squeezed(section, bottom))
        .collect();
    for tick in scale.ticks() {
        let x = percent(tick.x);
        let top = if tick.time.is_some() { AXIS - 6 } else { AXIS };
        drawn +=
            &format!("<line class=\"grid\" x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{bottom}\"/>");
        let edge = match tick.x {
            ..4.0 => " begin",
            96.0.. => " finish",
            _ => "",
        };
        let label = |text: Option<String>, class, y| {
            text.map_or_else(String::new, |text| {
                format!("<text class=\"{class}{edge}\" x=\"{x}\" y=\"{y}\">{text}</text>")
            })
        };
        drawn += &label(tick.date, "date", 12);
        drawn += &label(tick.time, "time", 27);
    }
    drawn
}

fn squeezed(section: &Section, bottom: u32) -> String {
    let (x, width) = (percent(section.x), percent(section.width));
    let middle = percent(section.x + section.width / 2.0);
    let (from, to) = (section.from, section.to);
    format!(
        "<g><title>a quiet stretch, drawn shorter\n{}</title>\
         <rect class=\"squeezed\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\"/>\
         <text class=\"pause\" x=\"{middle}\" y=\"27\">{}</text></g>",
        between(from, to),
        AXIS - 6,
        bottom + 6 - AXIS,
        roughly(span(from, to))
    )
}

/// A stretch in which the flag lied, through all the lanes.
fn band(lie: &Bar, scale: &Scale, bottom: u32) -> String {
    let (x, width) = place(lie, scale);
    format!(
        "<rect class=\"band\" x=\"{}\" y=\"{AXIS}\" width=\"{}\" height=\"{}\"/>",
        percent(x),
        percent(width),
        bottom - AXIS
    )
}

/// A thin line through all the lanes for each ask, so that one sees what it saw.
fn looks(lanes: &[Lane], scale: &Scale, bottom: u32) -> String {
    let marks = lanes
        .iter()
        .flat_map(|lane| &lane.rows)
        .find_map(|row| match row {
            Row::Marks(marks) => Some(marks),
            _ => None,
        });
    let line = |mark: &Mark| {
        let x = percent(scale.x(mark.at));
        format!("<line class=\"look\" x1=\"{x}\" x2=\"{x}\" y1=\"{AXIS}\" y2=\"{bottom}\"/>")
    };
    marks.into_iter().flatten().map(line).collect()
}

/// Where a bar lies, and how wide it is: never so narrow that it cannot be seen.
fn place(bar: &Bar, scale: &Scale) -> (f64, f64) {
    let x = scale.x(bar.from);
    (x, (scale.x(bar.to) - x).max(0.15))
}

fn draw_bar(bar: &Bar, scale: &Scale, top: u32) -> String {
    let (x, width) = place(bar, scale);
    let fault = match bar.fault {
        Some(Fault::Lie) => " lie",
        Some(Fault::Wrong) => " wrong",
        None => "",
    };
    let said = format!("{}\n{}", bar.said, between(bar.from, bar.to));
    let hatch = match bar.hatched {
        true => "<rect class=\"hatch\" width=\"100%\" height=\"20\"/>",
        false => "",
    };
    format!(
        "<svg class=\"bar {}{fault}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"20\"><title>{}</title>\
         <rect width=\"100%\" height=\"20\"/>{hatch}{}</svg>\n",
        bar.class,
        percent(x),
        top + 2,
        percent(width),
        escape(&said),
        label(bar, width)
    )
}

fn label(bar: &Bar, width: f64) -> String {
    let room = width / 100.0 * WIDTH - 8.0;
    let fits = |label: &&String| to_float(label.chars().count()) * LETTER <= room;
    let is_name = bar.class == "truth" && room > 2.0 * LETTER;
    let label = match bar.labels.iter().find(fits) {
        Some(label) => label,
        // The name of a job says something even when it is cut.
        None if is_name => {
            let [name, _] = &bar.labels;
            name
        }
        None => return String::new(),
    };
    match label.is_empty() {
        true => String::new(),
        false => format!("<text x=\"5\" y=\"14\">{}</text>", escape(label)),
    }
}

fn to_float(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::MAX, f64::from)
}

/// Ticks that would lie on each other are one.
fn draw_ticks(ticks: &[Tick], scale: &Scale, top: u32) -> String {
    let mut drawn = String::new();
    let mut rest = ticks;
    while let Some(first) = rest.first() {
        let x = scale.x(first.at);
        let near = |tick: &Tick| scale.x(tick.at) - x < 0.4;
        let (together, later) = rest.split_at(rest.partition_point(near).max(1));
        drawn += &draw_tick(together, first, x, top);
        rest = later;
    }
    drawn
}

fn draw_tick(together: &[Tick], first: &Tick, x: f64, top: u32) -> String {
    let mut lines = vec![stamp(first.at)];
    for tick in together.iter().take(NAMED) {
        lines.push(short(&tick.said));
    }
    if together.len() > NAMED {
        lines.push(format!("… and {} more", together.len() - NAMED));
    }
    // One that means something gives all of them their look.
    let shortest = together.iter().min_by_key(|tick| tick.class.len());
    let class = shortest.map_or(first.class, |tick| tick.class);
    let title = escape(&lines.join("\n"));
    let x = percent(x);
    let shape = match class {
        "launch" => format!(
            "<use href=\"#launch\" x=\"{x}\" y=\"{0}\"/>\
             <svg x=\"{x}\" y=\"{top}\" width=\"80\" height=\"16\"><text x=\"9\" y=\"12\">launched</text></svg>",
            top + 8
        ),
        "line" | "line idle" => format!(
            "<line x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{}\"/>\
             <line class=\"reach\" x1=\"{x}\" x2=\"{x}\" y1=\"{top}\" y2=\"{}\"/>",
            top + 3,
            top + 13,
            top + 16
        ),
        _ => format!("<use href=\"#hook\" x=\"{x}\" y=\"{}\"/>", top + 8),
    };
    format!("<g class=\"{class}\"><title>{title}</title>{shape}</g>\n")
}

fn short(line: &str) -> String {
    match line.char_indices().nth(LINE) {
        Some((end, _)) => line.get(..end).unwrap_or_default().to_owned() + "…",
        None => line.to_owned(),
    }
}

fn draw_mark(mark: &Mark, scale: &Scale, top: u32) -> String {
    let (x, y) = (percent(scale.x(mark.at)), top + 14);
    let ring = match mark.unmet {
        true => format!("<circle class=\"ring\" cx=\"{x}\" cy=\"{y}\" r=\"11.5\"/>"),
        false => String::new(),
    };
    let mark_drawn = format!(
        "<title>{}</title><use href=\"#{}\" x=\"{x}\" y=\"{y}\"/>{ring}",
        escape(&mark.said),
        mark.symbol
    );
    match &mark.row {
        Some(row) => format!("<a class=\"mark\" href=\"#{row}\">{mark_drawn}</a>\n"),
        None => format!("<g class=\"mark\">{mark_drawn}</g>\n"),
    }
}
