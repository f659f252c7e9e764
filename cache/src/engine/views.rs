//! The views of a cache: for each name one type, the forms in which threads hold it, and the kinds
//! of its keys.
//!
//! A view asks here once, when it is made, and keeps the indexes that it gets. A hit does not come
//! here.

use std::any::TypeId;

use crate::{
    engine::flight::ValueType,
    error::ViewError,
    level1::view::{SelectorIndex, ViewIndex},
    sync::{Arc, Mutex},
};

/// How many tables of views each thread may have to keep for one cache.
const MOST_VIEWS: usize = 1_024;
/// How many kinds of keys one name may have.
const MOST_SELECTORS: usize = 256;

/// The kind of a view's keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selector {
    /// `name:part`, and more parts.
    Parts,
    /// `name@part`: a primary key.
    Primary,
    /// `name@field:part`, and more fields and parts.
    Fields(Arc<[Box<str>]>),
}

/// The views of one cache.
#[derive(Debug, Default)]
pub(crate) struct Views(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    names: Vec<Name>,
    /// How many tables all names together have.
    tables: usize,
}

#[derive(Debug)]
struct Name {
    name: Arc<str>,
    of: ValueType,
    /// The types in which threads hold its values, each with the table of it.
    forms: Vec<(TypeId, ViewIndex)>,
    selectors: Vec<Selector>,
}

impl Views {
    /// Returns the table of a name in a form, and adds it if it is new.
    pub(crate) fn table(
        &self,
        name: &str,
        of: ValueType,
        form: TypeId,
    ) -> Result<(Arc<str>, ViewIndex), ViewError> {
        let state = &mut *self.0.lock();
        let found = state.names.iter().position(|other| &*other.name == name);
        let known = found.map(|index| &mut state.names[index]);

        if let Some(known) = &known {
            if known.of.id != of.id {
                return Err(ViewError::WrongType {
                    name: name.into(),
                    first: known.of.name,
                    asked: of.name,
                });
            }

            if let Some((_, index)) = known.forms.iter().find(|(other, _)| *other == form) {
                return Ok((Arc::clone(&known.name), *index));
            }
        }

        if state.tables >= MOST_VIEWS {
            return Err(ViewError::TooMany {
                what: "views of this cache",
                most: MOST_VIEWS,
            });
        }

        let index = ViewIndex(state.tables);
        state.tables += 1;

        let name: Arc<str> = match known {
            Some(known) => {
                known.forms.push((form, index));
                Arc::clone(&known.name)
            }
            None => {
                let name: Arc<str> = name.into();
                state.names.push(Name {
                    name: Arc::clone(&name),
                    of,
                    forms: vec![(form, index)],
                    selectors: vec![Selector::Parts],
                });
                name
            }
        };
        Ok((name, index))
    }

    /// Returns the index of a selector of a name, and adds it if it is new.
    pub(crate) fn selector(
        &self,
        name: &str,
        selector: &Selector,
    ) -> Result<SelectorIndex, ViewError> {
        let mut state = self.0.lock();
        let Some(known) = state.names.iter_mut().find(|other| &*other.name == name) else {
            return Ok(SelectorIndex(0)); // a view enters its name before it asks
        };

        let selectors = &mut known.selectors;
        let found = selectors.iter().position(|other| other == selector);
        let index = found.unwrap_or(selectors.len());
        if index >= MOST_SELECTORS {
            return Err(ViewError::TooMany {
                what: "kinds of keys of this name",
                most: MOST_SELECTORS,
            });
        }

        if found.is_none() {
            selectors.push(selector.clone());
        }
        Ok(SelectorIndex(index as u8))
    }
}
