//! Whole lists at once: each entry by the same door as a single one, their effects together.
//!
//! An entry that the list has already is left alone, so that reading an export back changes neither who decided nor
//! since when.

use alloc::borrow::ToOwned;
use alloc::string::ToString;
use alloc::vec::Vec;
use core::time::Duration;

use super::lists::refuse_wide;
use super::{BLOCKS_LIMIT, Engine, NEVER_LIMIT, Refusal};
use crate::import::{End, Outcome, Wish};
use crate::time::{Now, Timestamp};

/// How an import is carried out.
#[derive(Debug, Clone, Copy)]
pub struct Manner<'a> {
    /// Who asks.
    pub author: &'a str,
    /// Say what would happen behind so many entries that would be new, and do nothing.
    pub dry_run: Option<usize>,
    /// Take networks that are too wide to be meant.
    pub force: bool,
}

/// An entry that the list has, as far as an import can change it.
struct Standing<'a> {
    /// None: it stays.
    until: Option<Timestamp>,
    comment: &'a str,
}

impl Engine {
    /// An administrator brings blocks; the outcomes are in the order of the wishes.
    pub fn import_blocks(&mut self, wishes: Vec<Wish>, manner: Manner<'_>, now: Now) -> Vec<Outcome> {
        let mut added = manner.dry_run.unwrap_or_default();
        let mut import = |wish: Wish| {
            let until = until(wish.end, Some(self.policy().block_time), now);
            let found = self.blocks.get(&wish.network).map(|(_, block)| block);
            let full = found.is_none() && self.blocks.len().saturating_add(added) >= BLOCKS_LIMIT;
            let standing = found.map(|block| Standing { until: Some(block.until), comment: &block.reason });
            let outcome = judge(&wish, until, standing, now);
            check(&wish, manner.force, full.then_some(BLOCKS_LIMIT))?;
            if manner.dry_run.is_some() {
                added += usize::from(outcome == Outcome::New);
            } else if is_a_change(&outcome) {
                let (span, author) = (until.map(|until| until.since(now.wall)), manner.author.to_owned());
                self.block(wish.network, span, wish.comment, author, manner.force, now)?;
            }
            Ok(outcome)
        };
        wishes.into_iter().map(|wish| answered(import(wish))).collect()
    }

    /// An administrator brings exemptions; the outcomes are in the order of the wishes.
    pub fn import_nevers(&mut self, wishes: Vec<Wish>, manner: Manner<'_>, now: Now) -> Vec<Outcome> {
        let mut added = manner.dry_run.unwrap_or_default();
        let mut import = |wish: Wish| {
            let until = until(wish.end, None, now);
            let found = self.nevers.get(&wish.network).map(|(_, never)| never);
            if found.is_some_and(|never| never.built_in) {
                return Err(Refusal::BuiltIn(wish.network));
            }
            let full = found.is_none() && self.nevers.len().saturating_add(added) >= NEVER_LIMIT;
            let standing = found.map(|never| Standing { until: never.until, comment: &never.comment });
            let outcome = judge(&wish, until, standing, now);
            check(&wish, manner.force, full.then_some(NEVER_LIMIT))?;
            if manner.dry_run.is_some() {
                added += usize::from(outcome == Outcome::New);
            } else if is_a_change(&outcome) {
                let (span, author) = (until.map(|until| until.since(now.wall)), manner.author.to_owned());
                self.never(wish.network, span, wish.comment, author, manner.force, now)?;
            }
            Ok(outcome)
        };
        wishes.into_iter().map(|wish| answered(import(wish))).collect()
    }
}

/// What single entries are refused for, too; a dry run must know it without trying.
fn check(wish: &Wish, force: bool, full: Option<usize>) -> Result<(), Refusal> {
    refuse_wide(wish.network, force)?;
    full.map_or(Ok(()), |limit| Err(Refusal::Full(limit)))
}

/// None: it stays.
fn until(end: End, usual: Option<Duration>, now: Now) -> Option<Timestamp> {
    match end {
        End::Usual => usual.map(|span| now.wall.after(span)),
        End::After(span) => Some(now.wall.after(span)),
        End::At(time) => Some(time),
    }
}

fn judge(wish: &Wish, until: Option<Timestamp>, standing: Option<Standing<'_>>, now: Now) -> Outcome {
    if until.is_some_and(|until| until <= now.wall) {
        return Outcome::Rejected {
            reason: "its time is over; give it a later `until`, or none".to_string(),
        };
    }
    let Some(standing) = standing else { return Outcome::New };
    let end = |until: Option<Timestamp>| until.unwrap_or(Timestamp::FAR_FUTURE);
    match end(until).cmp(&end(standing.until)) {
        core::cmp::Ordering::Greater => Outcome::Longer,
        core::cmp::Ordering::Less => Outcome::Shorter,
        // Who does not say why has nothing against the reason that is there.
        core::cmp::Ordering::Equal if wish.comment.is_empty() || wish.comment == standing.comment => {
            Outcome::Unchanged
        }
        core::cmp::Ordering::Equal => Outcome::Changed,
    }
}

const fn is_a_change(outcome: &Outcome) -> bool {
    !matches!(outcome, Outcome::Unchanged | Outcome::Rejected { .. })
}

fn answered(result: Result<Outcome, Refusal>) -> Outcome {
    result.unwrap_or_else(|refusal| Outcome::Rejected { reason: refusal.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::{Change, Origin};
    use crate::engine::{Effect, Held, Record};
    use crate::policy::Policy;
    use crate::time::Instant;

    const MANNER: Manner<'_> = Manner { author: "alice", dry_run: None, force: false };

    fn at(seconds: u64) -> Now {
        let wall = Timestamp::from_millis(1_800_000_000_000).after(Duration::from_secs(seconds));
        Now { instant: Instant::from_nanos((seconds + 1000) * 1_000_000_000), wall }
    }

    fn wish(network: &str, end: End, comment: &str) -> Wish {
        Wish { network: network.parse().unwrap(), end, comment: comment.to_string() }
    }

    fn minutes(count: u64) -> End {
        End::After(Duration::from_mins(count))
    }

    fn names(outcomes: &[Outcome]) -> Vec<&'static str> {
        outcomes.iter().map(Outcome::name).collect()
    }

    fn effects(engine: &mut Engine) -> Vec<Effect> {
        core::iter::from_fn(|| engine.poll_effect()).collect()
    }

    #[test]
    fn each_entry_is_new_longer_shorter_changed_or_unchanged() {
        let mut engine = Engine::new(Policy::default());
        let first = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "192.0.2.4/32", "192.0.2.5/32"]
            .map(|network| wish(network, minutes(60), "spam"));
        let outcomes = engine.import_blocks(first.to_vec(), MANNER, at(0));
        assert_eq!(names(&outcomes), ["new"; 5]);
        effects(&mut engine);
        let second = [
            wish("192.0.2.1/32", minutes(61), "spam"),
            wish("192.0.2.2/32", minutes(59), "spam"),
            wish("192.0.2.3/32", minutes(60), "worse"),
            wish("192.0.2.4/32", minutes(60), "spam"),
            wish("192.0.2.5/32", minutes(60), ""),
            wish("198.51.100.0/24", End::Usual, ""),
        ];
        let wanted = ["longer", "shorter", "changed", "unchanged", "unchanged", "new"];
        let dry = engine.import_blocks(second.to_vec(), Manner { dry_run: Some(0), ..MANNER }, at(0));
        assert_eq!(names(&dry), wanted);
        assert_eq!(effects(&mut engine), [], "a dry run does nothing");
        assert_eq!(names(&engine.import_blocks(second.to_vec(), MANNER, at(0))), wanted);
        let again = effects(&mut engine).into_iter().filter_map(|effect| match effect {
            Effect::Store(Record::PutBlock(block)) => Some(block.network.to_string()),
            _ => None,
        });
        let touched = ["192.0.2.1/32", "192.0.2.2/32", "192.0.2.3/32", "198.51.100.0/24"];
        assert_eq!(again.collect::<Vec<_>>(), touched, "what is unchanged is not touched");
        let usual = engine.blocks.get(&"198.51.100.0/24".parse().unwrap()).unwrap().1;
        assert_eq!(usual.until, at(30 * 60).wall);
        assert_eq!((usual.origin, usual.author.as_str()), (Origin::Manual, "alice"));
    }

    #[test]
    fn a_list_that_is_read_back_changes_nothing() {
        let mut engine = Engine::new(Policy::default());
        let longest = Duration::from_mins(crate::admin::LONGEST_BLOCK_MINUTES);
        let network = "2001:db8::/48".parse().unwrap();
        engine.block(network, Some(longest), "for ever".into(), "bob".into(), false, at(0)).unwrap();
        engine
            .never("192.0.2.7/32".parse().unwrap(), None, "office".into(), "bob".into(), false, at(0))
            .unwrap();
        effects(&mut engine);
        let blocks: Vec<_> = engine.blocks(at(9).instant).map(|view| view.block).collect();
        let back = |block: &crate::decision::Block| Wish {
            network: block.network,
            end: End::At(block.until),
            comment: block.reason.clone(),
        };
        let outcomes = engine.import_blocks(blocks.iter().map(back).collect(), MANNER, at(9));
        assert_eq!(names(&outcomes), ["unchanged"]);
        let never = wish("192.0.2.7/32", End::Usual, "office");
        assert_eq!(names(&engine.import_nevers([never].to_vec(), MANNER, at(9))), ["unchanged"]);
        assert_eq!(effects(&mut engine), []);
        let mut other = Engine::new(Policy::default());
        assert_eq!(names(&other.import_blocks(blocks.iter().map(back).collect(), MANNER, at(9))), ["new"]);
        let copy: Vec<_> = other.blocks(at(9).instant).map(|view| view.block).collect();
        assert_eq!((copy[0].until, &copy[0].reason), (blocks[0].until, &blocks[0].reason));
    }

    #[test]
    fn a_bad_entry_is_rejected_and_spoils_no_other_one() {
        let mut engine = Engine::new(Policy::default());
        let built_in = crate::decision::Never {
            network: "127.0.0.0/8".parse().unwrap(),
            comment: "loopback".into(),
            author: "built-in".into(),
            since: at(0).wall,
            until: None,
            built_in: true,
        };
        engine.restore((Vec::new(), Vec::new()), &Held::default(), [built_in], at(0));
        effects(&mut engine);
        let wishes = [
            wish("0.0.0.0/0", minutes(1), ""),
            wish("192.0.2.1/32", End::At(at(10).wall), ""),
            wish("127.0.0.0/8", minutes(1), ""),
            wish("192.0.2.2/32", minutes(1), ""),
        ];
        for manner in [Manner { dry_run: Some(0), ..MANNER }, MANNER] {
            let outcomes = engine.import_nevers(wishes.to_vec(), manner, at(10));
            assert_eq!(names(&outcomes), ["rejected", "rejected", "rejected", "new"]);
            let reasons: Vec<_> = outcomes.iter().map(|outcome| alloc::format!("{outcome:?}")).collect();
            assert!(reasons[0].contains("--force"), "{}", reasons[0]);
            assert!(reasons[1].contains("over"), "{}", reasons[1]);
            assert!(reasons[2].contains("built in"), "{}", reasons[2]);
        }
        let changes: Vec<_> = effects(&mut engine)
            .into_iter()
            .filter_map(|effect| if let Effect::Kernel(change) = effect { Some(change) } else { None })
            .collect();
        assert!(matches!(&changes[..], [Change::Never { network, .. }] if network.prefix_len() == 32));
        let wide = wish("0.0.0.0/0", minutes(1), "");
        let forced = engine.import_blocks([wide].to_vec(), Manner { force: true, ..MANNER }, at(10));
        assert_eq!(names(&forced), ["new"]);
    }

    #[test]
    fn a_dry_run_foresees_that_the_list_becomes_full() {
        let mut engine = Engine::new(Policy::default());
        let hosts = (0..=NEVER_LIMIT).map(|host| {
            let [.., b, c, d] = host.to_be_bytes();
            Wish { network: crate::client::host([10, b, c, d].into()), end: End::Usual, comment: "x".into() }
        });
        let wishes: Vec<_> = hosts.collect();
        // As a list comes, in several requests.
        let dry_run = Some(NEVER_LIMIT - 1);
        let last = engine.import_nevers(wishes[..2].to_vec(), Manner { dry_run, ..MANNER }, at(0));
        assert!(matches!(last[..], [Outcome::New, Outcome::Rejected { .. }]), "{last:?}");
        for dry_run in [Some(0), None] {
            let outcomes = engine.import_nevers(wishes.clone(), Manner { dry_run, ..MANNER }, at(0));
            assert!(outcomes[..NEVER_LIMIT].iter().all(|outcome| *outcome == Outcome::New));
            assert!(
                matches!(&outcomes[NEVER_LIMIT], Outcome::Rejected { reason } if reason.contains("full"))
            );
        }
    }
}
