//! How it looks. Everything has its place in 80 columns and 24 lines; more room shows more clients and events.

use filter_core::admin::{Gauge, StatusView};
use filter_core::event::Event;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge as Bar, Paragraph, Row, Sparkline, Table};

use super::super::events::{detail, what};
use super::super::table::{bytes, duration, network, time};
use super::scene::{Order, Scene};
use crate::clock;

/// How full a limit is before it is coloured, in percent.
const NEAR: u64 = 80;

/// Draws all of it; without colours for those who want none.
pub(super) fn draw(frame: &mut Frame<'_>, scene: &Scene, is_coloured: bool) {
    let colour = |colour| if is_coloured { Style::new().fg(colour) } else { Style::new() };
    let gauges = scene.gauges();
    let height = u16::try_from(gauges.len()).unwrap_or(3).clamp(3, 6) + 2;
    let [head, top, clients, events, foot] = Layout::vertical([
        Constraint::Length(2),
        Constraint::Length(height),
        Constraint::Fill(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(top);
    frame.render_widget(heading(scene.status.as_ref()), head);
    limits(frame, left, &gauges, is_coloured);
    plot(frame, right, scene, colour(Color::Red));
    watched(frame, clients, scene, colour(Color::Yellow));
    log(frame, events, &scene.events);
    let keys = match &scene.trouble {
        Some(trouble) => Line::from(trouble.as_str()).style(colour(Color::Red).bold()),
        None => Line::from("q quit   s sort   space pause"),
    };
    frame.render_widget(keys, foot);
}

fn heading(status: Option<&StatusView>) -> Paragraph<'_> {
    let Some(status) = status else { return Paragraph::new("asking the agent …") };
    let up = duration(clock::now().wall.since(status.started));
    let down = status.services.iter().flat_map(|service| &service.mail_servers);
    let down: Vec<_> =
        down.filter(|server| server.up == Some(false)).map(|server| server.address.as_str()).collect();
    let servers =
        if down.is_empty() { String::new() } else { format!("   MAIL SERVER DOWN: {}", down.join(", ")) };
    let first =
        format!("gatepost {} on {}, {} mode, up {up}{servers}", status.version, status.name, status.mode);
    let second = format!(
        "{} blocked   {} with a score   {} messages   {} offences   {} waiting for kernel or disk",
        status.blocks,
        status.watched,
        status.messages,
        status.offences,
        status.kernel_pending + status.store_pending
    );
    Paragraph::new(vec![Line::from(first).bold(), Line::from(second)])
}

fn limits(frame: &mut Frame<'_>, area: Rect, gauges: &[(String, Gauge)], is_coloured: bool) {
    let block = Block::bordered().title("Sessions");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let lines = Layout::vertical(gauges.iter().map(|_| Constraint::Length(1))).split(inner);
    for ((name, Gauge { used, limit }), line) in gauges.iter().zip(lines.iter()) {
        let percent = (used * 100).checked_div(*limit).unwrap_or(0).min(100);
        let style = match (is_coloured, percent >= NEAR) {
            (false, _) => Style::new(),
            (true, true) => Style::new().fg(Color::Red),
            (true, false) => Style::new().fg(Color::Green),
        };
        let bar = Bar::default()
            .percent(u16::try_from(percent).unwrap_or(100))
            .label(Span::from(format!("{name} {used} of {limit}")))
            .gauge_style(style);
        frame.render_widget(bar, *line);
    }
}

fn plot(frame: &mut Frame<'_>, area: Rect, scene: &Scene, style: Style) {
    let totals = scene.status.as_ref().and_then(|status| status.kernel);
    let title = match totals {
        Some(totals) => {
            let now = scene.drops.last().copied().unwrap_or(0);
            format!("Dropped {now}/s, {} in all ({})", totals.dropped, bytes(totals.dropped_bytes))
        }
        None => "No kernel filter".to_owned(),
    };
    let block = Block::bordered().title(title);
    let room = usize::from(block.inner(area).width);
    let from = scene.drops.len().saturating_sub(room);
    let data = scene.drops.get(from..).unwrap_or_default();
    frame.render_widget(Sparkline::default().block(block).data(data).style(style), area);
}

fn watched(frame: &mut Frame<'_>, area: Rect, scene: &Scene, near: Style) {
    let order = if scene.order == Order::Score { "by score" } else { "by address" };
    let block = Block::bordered().title(format!("Nearest to the threshold of {}, {order}", scene.threshold));
    let rows = scene.clients.iter().map(|client| {
        let left = u64::from(scene.threshold).saturating_sub(client.score);
        let is_near = client.score * 100 >= u64::from(scene.threshold) * NEAR;
        let row = Row::new([network(&client.scope), client.score.to_string(), format!("{left} left")]);
        if is_near { row.style(near) } else { row }
    });
    let widths = [Constraint::Length(43), Constraint::Length(10), Constraint::Fill(1)];
    frame.render_widget(Table::new(rows, widths).block(block), area);
}

fn log(frame: &mut Frame<'_>, area: Rect, events: &[Event]) {
    let block = Block::bordered().title("Latest events");
    let rows = events.iter().rev().map(|event| {
        let time = time(event.time);
        let clock = time.split(' ').nth(1).unwrap_or_default().to_owned();
        Row::new([clock, network(&event.network), what(&event.what), detail(event)])
    });
    let widths = [Constraint::Length(8), Constraint::Length(20), Constraint::Length(20), Constraint::Fill(1)];
    frame.render_widget(Table::new(rows, widths).block(block), area);
}
