//! The web admin: pages made here, over the API's own routes, behind one gate.
//!
//! Every page works without scripts; one small script keeps what is shown up to date. Everything that a browser loads
//! is in the program, and nothing is asked of anybody else.

mod api;
mod assets;
mod blocks;
mod changes;
mod client;
mod clients;
mod cookie;
mod day;
mod events;
mod fields;
mod gate;
mod health;
mod metrics;
mod nevers;
mod overview;
mod page;
mod pager;
mod people;
mod secured;
mod server;
mod sessions;
mod settings;
mod sign_in;
mod value;

use std::sync::Arc;

use axum::routing::{get, post};
use axum::{Router, middleware};
use filter_core::client::ClientAddr;
use filter_core::offence::{Kind, Offence};
use filter_core::service::ServiceName;

pub use metrics::metrics_router;
pub use server::{WebError, bind, serve, serve_tls};

use client::{Doorplate, Visitor};

use crate::config::Config;
use crate::control::{Access, Agent};
use crate::ips::Inbox;

/// What pages need of the agent.
#[derive(Debug, Clone)]
struct Web {
    access: Access,
    inbox: Inbox,
    doorplate: Arc<Doorplate>,
    /// The API, as the control socket answers it.
    api: Router,
    /// The server's name.
    name: Arc<str>,
}

impl Web {
    /// Somebody could not show who he is: the login component counts him, as it does for every other service.
    fn report_failure(&self, visitor: Visitor, account: &str) {
        tracing::info!(address = %visitor.address, account, "a wrong password or token");
        let offence = Offence::new(Kind::FailedLogin, b"").at(ServiceName::WEB).of(account.as_bytes());
        self.inbox.report(ClientAddr::new(visitor.address), offence);
    }
}

/// Everything that is answered over TCP.
pub fn router(config: &Config, agent: Agent) -> Router {
    let web = Web {
        access: agent.access.clone(),
        inbox: agent.inbox.clone(),
        doorplate: Arc::new(Doorplate::new(config)),
        api: crate::control::router(agent),
        name: config.name.as_str().into(),
    };
    let guard = middleware::from_fn_with_state(web.clone(), gate::guard);
    let api = web.api.clone();
    Router::new()
        .route("/", get(overview::show))
        .route("/blocks", get(blocks::show))
        .route("/blocks/add", post(changes::add_block))
        .route("/blocks/remove", post(changes::remove_blocks))
        .route("/never", get(nevers::show))
        .route("/never/add", post(changes::add_never))
        .route("/never/remove", post(changes::remove_nevers))
        .route("/undo", post(changes::undo))
        .route("/sessions", get(sessions::show))
        .route("/sessions/end", post(sessions::end))
        .route("/client", get(clients::show))
        .route("/events", get(events::show))
        .route("/events/export", get(events::export))
        .route("/settings", get(settings::show))
        .route("/settings/replay", post(settings::replay))
        .route("/access", get(people::show))
        .route("/sign-in", get(sign_in::show).post(sign_in::enter))
        .route("/sign-out", post(sign_in::leave))
        .route("/assets/{name}", get(assets::show))
        .fallback_service(api)
        .with_state(web)
        .layer(guard)
}
