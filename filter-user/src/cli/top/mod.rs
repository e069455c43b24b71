//! `gatepost top`: the gateway at work, in a terminal.
//!
//! It asks the agent what every other command asks, once a second. However it ends, by `q`, by Ctrl-C or by a panic, the
//! terminal is as it was.

mod draw;
mod scene;

use std::io::{IsTerminal as _, stdout};
use std::time::{Duration, Instant};

use filter_core::admin::StatusView;
use filter_core::event::Event;
use filter_core::neighbourhood::Nearest;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event as Input, KeyCode, KeyModifiers};

use super::Failure;
use super::colour::is_wanted;
use crate::control::{Client, ClientError};
use scene::{EVENTS, Scene};

/// Between two questions to the agent.
const PAUSE: Duration = Duration::from_secs(1);
/// How soon a key is heard.
const KEYS: Duration = Duration::from_millis(100);

/// Shows it until somebody has seen enough.
pub(super) async fn show(client: &Client) -> Result<(), Failure> {
    if !stdout().is_terminal() {
        return Err(Failure::usage(
            "`top` needs a terminal; in a pipe use `gatepost status --json`".to_owned(),
        ));
    }
    // Before the screen is taken: whoever has no agent hears it in the terminal that he knows.
    let mut scene = Scene::new();
    ask(client, &mut scene).await?;
    // Gives the terminal back in a panic, too.
    let mut terminal = ratatui::init();
    let outcome = run(client, &mut scene, &mut terminal).await;
    ratatui::restore();
    outcome
}

async fn run(client: &Client, scene: &mut Scene, terminal: &mut DefaultTerminal) -> Result<(), Failure> {
    let is_coloured = is_wanted(&stdout());
    let (mut asked, mut is_paused) = (Instant::now(), false);
    loop {
        terminal.draw(|frame| draw::draw(frame, scene, is_coloured))?;
        // On a thread of its own: what a key waits for is no affair of the runtime's.
        match tokio::task::spawn_blocking(key).await.map_err(std::io::Error::other)?? {
            Some(Key::Quit) => return Ok(()),
            Some(Key::Sort) => scene.turn(),
            Some(Key::Pause) => is_paused = !is_paused,
            None => {}
        }
        if !is_paused && asked.elapsed() >= PAUSE {
            asked = Instant::now();
            if let Err(error) = ask(client, scene).await {
                scene.trouble = Some(error.to_string());
            }
        }
    }
}

/// What a key means.
enum Key {
    Quit,
    Sort,
    Pause,
}

fn key() -> std::io::Result<Option<Key>> {
    if !event::poll(KEYS)? {
        return Ok(None);
    }
    let Input::Key(key) = event::read()? else { return Ok(None) };
    let with_control = key.modifiers.contains(KeyModifiers::CONTROL);
    Ok(match key.code {
        KeyCode::Char('q') | KeyCode::Esc => Some(Key::Quit),
        KeyCode::Char('c') if with_control => Some(Key::Quit),
        KeyCode::Char('s') => Some(Key::Sort),
        KeyCode::Char(' ') => Some(Key::Pause),
        _ => None,
    })
}

async fn ask(client: &Client, scene: &mut Scene) -> Result<(), ClientError> {
    let status: StatusView = client.get("/api/v1/status").await?;
    let nearest: Nearest = client.get("/api/v1/nearest").await?;
    let events: Vec<Event> = client.get(&format!("/api/v1/events?limit={EVENTS}")).await?;
    scene.take(status, nearest, events, Instant::now());
    Ok(())
}
