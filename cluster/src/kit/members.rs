//! The members' table beside a model store.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tidings_core::log::{
    Cursor, Demand, Incarnation, Join, JoinError, MemberFacts, MemberId, MemberRow, MemberSight,
    StartId,
};

/// Rows by node name, and how often each name has joined.
#[derive(Debug, Default)]
pub(super) struct Table {
    rows: BTreeMap<Arc<str>, Member>,
    joins: BTreeMap<Arc<str>, (StartId, Incarnation)>,
}

#[derive(Debug)]
struct Member {
    id: MemberId,
    bound: Option<Duration>,
    reported: Option<Cursor>,
    answered: Demand,
    demand: Demand,
    marked: bool,
    facts: Option<MemberFacts>,
}

impl Table {
    pub(super) fn join(&mut self, join: Join) -> Result<MemberId, JoinError> {
        let last = self.joins.get(&join.node).copied();
        let incarnation = match (last, join.before) {
            // A start that had joined finds that another has joined since.
            (Some((start, _)), Some(_)) if start != join.start => {
                return Err(JoinError::Superseded { node: join.node });
            }
            (Some((_, Incarnation(last))), _) => Incarnation(last + 1),
            (None, _) => Incarnation(1),
        };
        let id = MemberId {
            node: Arc::clone(&join.node),
            start: join.start,
            incarnation,
        };
        let member = Member {
            id: id.clone(),
            bound: join.bound,
            reported: None,
            answered: Demand(0),
            demand: Demand(0),
            marked: false,
            facts: join.facts,
        };
        self.joins
            .insert(Arc::clone(&join.node), (join.start, incarnation));
        self.rows.insert(join.node, member);

        Ok(id)
    }

    pub(super) fn leave(&mut self, id: &MemberId) {
        if self.find(id).is_some() {
            self.rows.remove(&id.node);
        }
    }

    pub(super) fn list(&self) -> Vec<MemberRow> {
        let row = |member: &Member| MemberRow {
            id: member.id.clone(),
            bound: member.bound,
            reported: member.reported.clone(),
            answered: member.answered,
            marked: member.marked,
            facts: member.facts.clone(),
            // The model has one clock, which no one compares.
            last: None,
        };
        self.rows.values().map(row).collect()
    }

    pub(super) fn look(&self, id: &MemberId) -> MemberSight {
        match self.rows.get(&id.node) {
            None => match self.joins.get(&id.node) {
                Some((start, _)) if *start != id.start => MemberSight::Superseded,
                _ => MemberSight::Missing,
            },
            Some(member) if member.id.start != id.start => MemberSight::Superseded,
            Some(member) if member.id != *id => MemberSight::Missing,
            Some(member) if member.marked => MemberSight::Marked,
            Some(_) => MemberSight::Counted,
        }
    }

    pub(super) fn demanded(&self, id: &MemberId) -> Option<Demand> {
        let member = self.rows.get(&id.node).filter(|member| member.id == *id)?;
        (member.demand > Demand(0)).then_some(member.demand)
    }

    pub(super) fn demand(&mut self) -> Vec<(MemberId, Demand)> {
        let raised = self.rows.values_mut().map(|member| {
            member.demand.0 += 1;
            (member.id.clone(), member.demand)
        });
        raised.collect()
    }

    pub(super) fn report(&mut self, id: &MemberId, applied: &Cursor, answers: Demand) {
        if let Some(member) = self.find(id) {
            member.reported = Some(applied.clone());
            member.answered = answers;
        }
    }

    pub(super) fn mark(&mut self, id: &MemberId) -> bool {
        let member = self.find(id);
        member.is_some_and(|member| {
            member.marked = true;
            true
        })
    }

    pub(super) fn expire(&mut self, id: &MemberId) -> bool {
        match self.find(id) {
            Some(member) if member.marked => {
                self.rows.remove(&id.node);
                true
            }
            Some(_) => false,
            None => true,
        }
    }

    fn find(&mut self, id: &MemberId) -> Option<&mut Member> {
        let member = self.rows.get_mut(&id.node)?;
        (member.id == *id).then_some(member)
    }
}
