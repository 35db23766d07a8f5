//! One thing at the source with its names, and what the sink is known to have of them.

use std::collections::BTreeMap;

use crate::model::metadata::{Metadata, Sighting};
use crate::model::rel_path::RelPath;
use crate::model::timestamp::Timestamp;
use crate::model::work_id::WorkId;
use crate::queue::links::reports::Reports;

/// What the sink has at a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nobody knows.
    Unknown,
    /// This piece of work will tell.
    Sent {
        work: WorkId,
        /// As another name of what the sink has.
        follows: bool,
        /// With the metadata of this edition.
        edition: u32,
        /// What it follows may have been something else when the sink looked.
        is_lost: bool,
    },
    /// This thing, of its present content.
    Confirmed,
}

/// What the sink has of the content of a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nobody has confirmed the present content: no name may go without it.
    New,
    /// The right one, as far as metadata tells.
    Believed,
    /// What was sent.
    Proven,
}

#[derive(Debug)]
pub(super) struct Thing {
    names: BTreeMap<RelPath, Standing>,
    confirmed: usize,
    /// The name that was confirmed last or is to go first.
    leader: Option<RelPath>,
    /// As it was when its content was read last.
    pub(super) sighting: Sighting,
    pub(super) content: Content,
    /// As it was when it was looked at last, and how often that was news: what is older must not be what remains.
    seen: Metadata,
    changed: Timestamp,
    pub(super) edition: u32,
    /// The sink has wrong names for it.
    pub(super) is_distrusted: bool,
    /// It lost a name that the sink may still have.
    pub(super) is_shrinking: bool,
    /// How many names it had when it was last looked at.
    pub(super) names_seen: u32,
    /// How often the sink had not what was thought, since the content was sent last.
    pub(super) strikes: u32,
    /// So many names it had when a search for them began.
    pub(super) searched: Option<u32>,
    /// So many names it has, of which those not known lie elsewhere.
    pub(super) settled: Option<u32>,
    pub(super) reports: Reports,
}

impl Thing {
    pub(super) fn new(seen: &Sighting) -> Self {
        Self {
            names: BTreeMap::new(),
            confirmed: 0,
            leader: None,
            sighting: seen.digested(),
            seen: plain(&seen.metadata),
            changed: seen.stamp.changed,
            edition: 0,
            content: Content::Believed,
            is_distrusted: false,
            is_shrinking: false,
            names_seen: seen.metadata.names,
            strikes: 0,
            searched: None,
            settled: None,
            reports: Reports::NONE,
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &RelPath> {
        self.names.keys()
    }

    pub(super) fn names_other_than(&self, path: &RelPath) -> Vec<RelPath> {
        self.names().filter(|name| *name != path).cloned().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether it has names that are not known.
    pub(super) fn lacks_names(&self) -> bool {
        self.names_seen > 1 && self.names.len() < self.names_seen as usize
    }

    /// Whether it has names that are none any more.
    pub(super) fn has_stale_names(&self) -> bool {
        self.names.len() > self.names_seen as usize
    }

    pub(super) fn standing(&self, path: &RelPath) -> Option<Standing> {
        self.names.get(path).copied()
    }

    pub(super) fn is_confirmed(&self, path: &RelPath) -> bool {
        self.standing(path) == Some(Standing::Confirmed)
    }

    /// Takes what was `seen`; returns whether anything but the number of names is news, and if so, whether it may be
    /// older than what was known.
    pub(super) fn renew(&mut self, seen: &Sighting) -> (bool, bool) {
        self.names_seen = seen.metadata.names;
        let is_news = self.seen != plain(&seen.metadata);
        let may_be_old = is_news && seen.stamp.changed <= self.changed;
        if is_news {
            self.seen = plain(&seen.metadata);
            self.edition += 1;
        }
        self.changed = seen.stamp.changed;
        (is_news, may_be_old)
    }

    /// Whether the sink has any name of it.
    pub(super) fn has_confirmed(&self) -> bool {
        self.confirmed > 0
    }

    /// Sets the standing of `path`, which becomes a name if it is none.
    pub(super) fn set(&mut self, path: &RelPath, standing: Standing) {
        let before = self.names.insert(path.clone(), standing);
        self.confirmed += usize::from(standing == Standing::Confirmed);
        self.confirmed -= usize::from(before == Some(Standing::Confirmed));
    }

    pub(super) fn remove(&mut self, path: &RelPath) {
        let before = self.names.remove(path);
        self.confirmed -= usize::from(before == Some(Standing::Confirmed));
        self.leader.take_if(|leader| leader == path);
    }

    pub(super) fn leader(&self) -> Option<&RelPath> {
        self.leader.as_ref()
    }

    pub(super) fn lead(&mut self, path: &RelPath) {
        if self.leader.as_ref() != Some(path) {
            self.leader = Some(path.clone());
        }
    }

    /// A name that the sink has, other than `path`.
    pub(super) fn confirmed_other_than(&self, path: &RelPath) -> Option<&RelPath> {
        if self.confirmed == usize::from(self.is_confirmed(path)) {
            return None;
        }
        let leader = self.leader.as_ref().filter(|leader| self.is_confirmed(leader));
        leader.filter(|leader| *leader != path).or_else(|| {
            let mut confirmed = self
                .names
                .iter()
                .filter(|(name, standing)| *name != path && **standing == Standing::Confirmed);
            confirmed.next().map(|(name, _)| name)
        })
    }

    /// The names that some piece of work was to bring.
    pub(super) fn sent(&self) -> impl Iterator<Item = &RelPath> {
        let is_sent = |standing: &Standing| matches!(standing, Standing::Sent { .. });
        self.names.iter().filter(move |(_, standing)| is_sent(standing)).map(|(name, _)| name)
    }

    /// Nothing is known of what the sink has.
    pub(super) fn doubt(&mut self) {
        self.names.values_mut().for_each(|standing| *standing = Standing::Unknown);
        self.confirmed = 0;
    }

    /// The sink has a name of it with the present content.
    pub(super) fn settle(&mut self) {
        (self.is_shrinking, self.is_distrusted) = (false, false);
        if self.content == Content::New {
            self.content = Content::Proven;
        }
    }

    /// What follows a name on its way may find something else there.
    pub(super) fn lose_followers(&mut self) {
        for standing in self.names.values_mut() {
            if let Standing::Sent { follows: true, is_lost, .. } = standing {
                *is_lost = true;
            }
        }
    }

    /// Nothing is known of the names other than `path`; returns those of which something was.
    pub(super) fn leave_behind(&mut self, path: &RelPath) -> Vec<RelPath> {
        let known = self.names.iter().filter(|(_, standing)| **standing != Standing::Unknown);
        let mut left: Vec<RelPath> = known.map(|(name, _)| name.clone()).collect();
        left.retain(|name| name != path);
        self.doubt();
        left
    }

    /// The content is another one, or the sink's cannot be trusted: `path` shall bring it.
    pub(super) fn begin_anew(&mut self, path: &RelPath, seen: &Sighting) {
        self.doubt();
        self.sighting = seen.digested();
        (self.content, self.strikes) = (Content::New, 0);
        self.lead(path);
    }
}

fn plain(metadata: &Metadata) -> Metadata {
    Metadata { names: 1, ..metadata.digested() }
}
