//! What an administrator asks of the task: changes, which are in the kernel before they are answered, and questions.

use std::sync::Arc;

use filter_core::admin::{Gauge, Removed, SessionsView};
use filter_core::client::ClientAddr;
use filter_core::decision::Never;
use filter_core::engine::Manner;
use filter_core::time::{Instant, Now};
use ipnet::IpNet;

use super::sessions::Ledger;
use super::{Counts, Ips, List, Reload, Request, Sighting, journal};
use crate::clock;

impl Ips {
    pub(super) fn answer(&mut self, request: Request) {
        let now = clock::now();
        // An administrator who has stopped waiting still gets what was asked for; only the answer is lost.
        match request {
            Request::Block { network, span, comment, author, force, answer } => {
                let mut result = self.engine.block(network, span, comment, author, force, now);
                self.carry_out();
                if let Ok(view) = &mut result {
                    view.kernel_problem = self.enforcer.problem(List::Blocks, network);
                }
                let _ = answer.send(result);
            }
            Request::FileBlock { network, span, reason, feed, answer } => {
                let mut result = self.engine.file_block(network, span, reason, feed, now);
                self.carry_out();
                if let Ok(view) = &mut result {
                    view.kernel_problem = self.enforcer.problem(List::Blocks, network);
                }
                let _ = answer.send(result);
            }
            Request::UnfileBlock { network, feed, answer } => {
                let removed = self.engine.unfile_block(network, feed, now);
                self.carry_out();
                let kernel_problem =
                    self.enforcer.problem(List::Blocks, network).filter(|_| removed.was_there);
                let _ = answer.send(Ok(Removed { kernel_problem, ..removed }));
            }
            Request::MayLogIn(client, answer) => {
                let standing = self.engine.handle_login(client, now);
                self.carry_out();
                let _ = answer.send(standing);
            }
            Request::Unblock { network, author, answer } => {
                let mut result = self.engine.unblock(network, author, now);
                self.carry_out();
                if let Ok(removed) = &mut result {
                    removed.kernel_problem = self.enforcer.problem(List::Blocks, network);
                }
                let _ = answer.send(result);
            }
            Request::Never { network, span, comment, author, force, answer } => {
                let result = self.engine.never(network, span, comment, author, force, now);
                self.carry_out();
                let _ = answer.send(result);
            }
            Request::ForgetNever { network, author, answer } => {
                let mut result = self.engine.forget_never(network, author, now);
                self.carry_out();
                if let Ok(removed) = &mut result {
                    removed.kernel_problem = self.enforcer.problem(List::Never, network);
                }
                let _ = answer.send(result);
            }
            Request::Import { list, wishes, author, dry_run, force, answer } => {
                let manner = Manner { author: &author, dry_run, force };
                let outcomes = match list {
                    List::Blocks => self.engine.import_blocks(wishes, manner, now),
                    List::Never => self.engine.import_nevers(wishes, manner, now),
                };
                self.carry_out_telling(journal::whisper);
                if dry_run.is_none() {
                    journal::imported(list, &outcomes, &author);
                }
                let _ = answer.send(outcomes);
            }
            Request::Reload(wanted, answer) => {
                let Reload { policy, limits, replies } = *wanted;
                self.engine.set_policy(policy);
                self.sessions.set_limits(limits);
                self.replies = replies;
                let _ = answer.send(());
            }
            Request::EndSessions { id, network, answer } => {
                let _ = answer.send(self.sessions.end_chosen(id, network, &self.replies.session_ended));
            }
            question => self.tell(question, now),
        }
    }

    /// Answers what changes nothing.
    fn tell(&mut self, question: Request, now: Now) {
        match question {
            Request::BlocksAfter { network, limit, answer } => {
                drop(answer.send(self.engine.blocks_after(network, now.instant).take(limit).collect()));
            }
            Request::Blocks { network, answer } => {
                drop(answer.send(self.engine.blocks_around(network, now.instant)));
            }
            Request::Search(search, answer) => drop(answer.send(self.engine.search(&search, now.instant))),
            Request::Nevers { network, answer } => {
                let is_wanted = |never: &&Never| {
                    let near =
                        |network: IpNet| network.contains(&never.network) || never.network.contains(&network);
                    network.is_none_or(near)
                };
                drop(answer.send(self.engine.nevers().filter(is_wanted).cloned().collect()));
            }
            Request::Standing(address, answer) => {
                drop(answer.send(self.engine.standing(ClientAddr::new(address), now)));
            }
            Request::Neighbourhood(network, answer) => {
                drop(answer.send(self.engine.neighbourhood(network, now)));
            }
            Request::Nearest(answer) => drop(answer.send(self.engine.nearest(now.instant))),
            Request::Policy(answer) => drop(answer.send(self.engine.policy().clone())),
            Request::Limits(answer) => {
                let limits = self.sessions.ledgers().iter().map(|ledger| ledger.limits.clone()).collect();
                let _ = answer.send(limits);
            }
            Request::Sessions(answer) => {
                let _ = answer.send((self.sightings(now.instant), self.engine.policy().block_threshold));
            }
            Request::Count(answer) => drop(answer.send(self.count())),
            // What changes something has been answered.
            _ => {}
        }
    }

    fn sightings(&mut self, now: Instant) -> Vec<Sighting> {
        let (sessions, engine) = (&self.sessions, &mut self.engine);
        let sight = |(id, client, local, live): (u64, ClientAddr, bool, &Arc<_>)| Sighting {
            id,
            local,
            score: engine.score(client, now),
            live: Arc::clone(live),
        };
        sessions.all().map(sight).collect()
    }

    fn count(&self) -> Counts {
        let (blocks, never, watched) = self.engine.sizes();
        Counts {
            books: self.sessions.ledgers().iter().map(view).collect(),
            open: self.sessions.count() as u64,
            blocks: blocks as u64,
            never: never as u64,
            watched: watched as u64,
            offences: self.offences,
            kernel_pending: self.enforcer.pending(),
            tally: self.tally.clone(),
            kernel_fill: self.enforcer.fill(),
            per_address: self.sessions.ledgers().iter().map(Ledger::per_address).collect(),
        }
    }
}

/// What a session book says of itself.
fn view(ledger: &Ledger) -> SessionsView {
    let (taken, limits) = (ledger.book.taken(), &ledger.limits);
    let gauge = |used: u32, limit: u32| Gauge { used: used.into(), limit: limit.into() };
    SessionsView {
        total: gauge(taken.total(), limits.maximum_sessions),
        incoming: gauge(taken.public + taken.reserved, limits.maximum_incoming_sessions),
        reserved: gauge(taken.reserved, limits.sessions_to_reserve),
        local: taken.local.into(),
        admitted: ledger.admitted,
        overflowed: ledger.overflowed,
        refused: ledger.refused,
    }
}
