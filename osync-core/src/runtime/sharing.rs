//! Read once, send many: sinks that want the same at the same time share one reading.
//!
//! A job that still waits for a reader may be joined by equal jobs of other sinks. Once a reader has taken
//! it nobody joins any more: what it finds may be older than a wish that comes later.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use crate::model::work_id::WorkId;
use crate::protocol::source::job::Job;
use crate::queue::mark::Lane;

/// Whose work: the tag of a session, and its piece of work.
pub type Member = (u64, WorkId);

/// Who waits for one reading; closed once it has begun.
#[derive(Debug)]
pub struct Party(Mutex<Option<Vec<Member>>>);

impl Party {
    /// A party of one.
    #[must_use]
    pub fn new(member: Member) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(vec![member]))))
    }

    /// Takes `member` in, unless the reading has begun; returns whether it did.
    fn join(&self, member: Member) -> bool {
        let mut members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.as_mut().map(|members| members.push(member)).is_some()
    }

    /// The reading begins: returns who waits for it. Nobody, the second time.
    #[must_use]
    pub fn close(&self) -> Vec<Member> {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        members.unwrap_or_default()
    }
}

/// The jobs that may be joined. Bounded by the jobs that are out.
#[derive(Debug, Default)]
pub struct Sharing {
    parties: HashMap<(Lane, Arc<Job>), Arc<Party>>,
}

impl Sharing {
    /// Has `member` join an equal job that waits; if there is none, returns the party of a new one,
    /// which is to be ordered.
    pub fn join(&mut self, lane: Lane, job: &Arc<Job>, member: Member) -> Option<Arc<Party>> {
        match self.parties.entry((lane, Arc::clone(job))) {
            Entry::Occupied(entry) if entry.get().join(member) => None,
            Entry::Occupied(mut entry) => {
                let party = Party::new(member);
                entry.insert(Arc::clone(&party));
                Some(party)
            }
            Entry::Vacant(entry) => {
                let party = Party::new(member);
                entry.insert(Arc::clone(&party));
                Some(party)
            }
        }
    }

    /// The reading of `party` is done.
    pub fn end(&mut self, lane: Lane, job: &Arc<Job>, party: &Arc<Party>) {
        if let Entry::Occupied(entry) = self.parties.entry((lane, Arc::clone(job)))
            && Arc::ptr_eq(entry.get(), party)
        {
            entry.remove();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::nodes::Nodes;
    use crate::model::rel_path::RelPath;

    fn job() -> Arc<Job> {
        let (directory, nodes) = (RelPath::root(), Nodes::NONE);
        Arc::new(Job::Names { directory, after: None, names_max: 1, nodes })
    }

    #[test]
    fn an_equal_job_joins_one_that_waits() {
        let mut sharing = Sharing::default();
        let party = sharing.join(Lane::Live, &job(), (1, WorkId(1))).unwrap();

        assert!(sharing.join(Lane::Live, &job(), (2, WorkId(1))).is_none());
        assert!(sharing.join(Lane::Backlog, &job(), (3, WorkId(1))).is_some());

        assert_eq!(party.close(), [(1, WorkId(1)), (2, WorkId(1))]);
    }

    #[test]
    fn nobody_joins_a_reading_that_has_begun() {
        let mut sharing = Sharing::default();
        let party = sharing.join(Lane::Live, &job(), (1, WorkId(1))).unwrap();
        assert_eq!(party.close(), [(1, WorkId(1))]);

        let later = sharing.join(Lane::Live, &job(), (2, WorkId(1))).unwrap();
        sharing.end(Lane::Live, &job(), &party);

        assert!(sharing.join(Lane::Live, &job(), (3, WorkId(1))).is_none());
        assert_eq!(later.close(), [(2, WorkId(1)), (3, WorkId(1))]);
    }
}
