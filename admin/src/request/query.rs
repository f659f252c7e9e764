//! Query arguments: paging, tags, field values, `cluster`. An argument that a path does not know is
//! refused: it was meant to do something, and would do nothing.

// The arguments of a list.
mod list;

use std::time::Duration;

use serde_json::{Map, Value as Json};
use tidings::{
    AUDIT_TIMES, Glob, Token, TokenError,
    core::{Field, Schema},
};

pub(crate) use self::list::{Listing, Paging, Tags};

use super::decode::{self, Argument};
use crate::problem::{Kind, Problem};

const CLUSTER: &str = "cluster";
const CONFIRM: &str = "confirm";
const POSITION: &str = "position";
const TIMEOUT: &str = "timeout";
const FOR: &str = "for";
const SOURCE: &str = "source";
const EVENT: &str = "event";

/// How long an audit runs unless the request says so.
const AUDIT: Duration = Duration::from_secs(10);
/// The longest time that a request may ask to wait.
const LONGEST: Duration = Duration::from_secs(600);
/// The longest pattern of names.
const LONGEST_NAME: usize = 256;
/// How long a position is waited for unless the request says so.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(2);

/// The arguments of a query, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<Argument>);

impl Query {
    /// Reads the query of a request.
    pub(crate) fn parse(query: Option<&str>) -> Self {
        Self(decode::arguments(query.unwrap_or_default()))
    }

    /// Returns all arguments, in order.
    pub(crate) fn arguments(&self) -> &[Argument] {
        &self.0
    }

    /// Refuses every argument.
    pub(crate) fn none(&self) -> Result<(), Problem> {
        self.only(&[])
    }

    fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let unknown = self
            .0
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()));
        let unknown: Map<_, _> = unknown
            .map(|(name, _)| (name.clone(), Json::from("unknown argument")))
            .collect();

        if unknown.is_empty() {
            Ok(())
        } else {
            Err(invalid_options(unknown))
        }
    }

    /// Returns whether every node is meant.
    pub(crate) fn cluster(&self) -> Result<bool, Problem> {
        self.only(&[CLUSTER, CONFIRM])?;
        match self.single(CLUSTER, Kind::InvalidOptions)? {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(invalid_option(CLUSTER, "expected true or false")),
        }
    }

    /// Returns how long the write of a row waits for its confirmation, if the request asks for one.
    pub(crate) fn confirm(&self) -> Result<Option<Duration>, Problem> {
        self.only(&[CONFIRM])?;
        self.duration(CONFIRM)
    }

    /// Returns how long an eviction waits for its confirmation, if the request asks for one; only
    /// an eviction on every node can be confirmed.
    pub(crate) fn confirm_of_cache(&self) -> Result<Option<Duration>, Problem> {
        let is_cluster = self.cluster()?;
        let confirm = self.duration(CONFIRM)?;
        if confirm.is_some() && !is_cluster {
            let message = "only an eviction on every node (cluster=true) can be confirmed";
            return Err(invalid_option(CONFIRM, message));
        }
        Ok(confirm)
    }

    /// Returns which position is asked about, and how long it is waited for.
    pub(crate) fn position(&self) -> Result<(Token, Duration), Problem> {
        self.only(&[POSITION, TIMEOUT])?;
        let text = self.single(POSITION, Kind::InvalidOptions)?;
        let token = text.map(str::parse).transpose();
        let token: Option<Token> =
            token.map_err(|error: TokenError| invalid_option(POSITION, &error.to_string()))?;
        let expected = "expected a position that a write has returned";
        let token = token.ok_or_else(|| invalid_option(POSITION, expected))?;
        Ok((token, self.duration(TIMEOUT)?.unwrap_or(CONFIRM_TIMEOUT)))
    }

    /// Returns how long an audit runs.
    pub(crate) fn audit(&self) -> Result<Duration, Problem> {
        self.only(&[FOR])?;
        let time = self.duration(FOR)?.unwrap_or(AUDIT);
        if time < AUDIT_TIMES.0 {
            return Err(invalid_option(FOR, "expected a duration from 1s to 10m"));
        }
        Ok(time)
    }

    /// Returns how long a probe waits for the members.
    pub(crate) fn probe(&self) -> Result<Duration, Problem> {
        self.only(&[TIMEOUT])?;
        Ok(self.duration(TIMEOUT)?.unwrap_or(CONFIRM_TIMEOUT))
    }

    /// Returns the sources and the events of the channels that are asked for.
    pub(crate) fn channels(&self) -> Result<(Glob, Glob), Problem> {
        self.only(&[SOURCE, EVENT])?;
        let glob = |name| match self.single(name, Kind::InvalidOptions)? {
            None => Ok(Glob::any()),
            Some(text) if (1..=LONGEST_NAME).contains(&text.len()) => Ok(Glob::new(text)),
            Some(_) => {
                let expected = format!(
                    "expected 1 to {LONGEST_NAME} bytes: a name, * for any text, ? for one"
                );
                Err(invalid_option(name, &expected))
            }
        };
        Ok((glob(SOURCE)?, glob(EVENT)?))
    }

    fn duration(&self, name: &str) -> Result<Option<Duration>, Problem> {
        let text = self.single(name, Kind::InvalidOptions)?;
        let duration = |text| {
            parsed_duration(text)
                .filter(|duration| *duration <= LONGEST)
                .ok_or_else(|| {
                    let expected = "expected a duration such as 500ms, 2s or 1m, up to 10m";
                    invalid_option(name, expected)
                })
        };
        text.map(duration).transpose()
    }

    /// Returns the value of an argument that may be given once.
    fn single(&self, name: &str, otherwise: Kind) -> Result<Option<&str>, Problem> {
        let mut values = self.0.iter().filter(|(other, _)| other == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, Ok(value))), None) => Ok(Some(value)),
            (Some((_, Err(error))), None) => Err(Problem::new(
                otherwise,
                format!("cannot read {name}: {error}"),
            )),
            (Some(_), Some(_)) => Err(Problem::new(otherwise, format!("{name} is given twice"))),
        }
    }
}

/// Reads digits and a unit.
fn parsed_duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;

    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3_600)?)),
        _ => None,
    }
}

/// Returns the field that an argument names; a reference as `consumer` or `consumer.id`.
pub(crate) fn field_of<'a>(schema: &'a Schema, name: &str) -> Option<(usize, &'a Field)> {
    let (base, key) = match name.split_once('.') {
        Some((base, key)) => (base, Some(key)),
        None => (name, None),
    };
    let (index, field) = schema.field(base)?;
    let refers_by = field.reference().map(|foreign| foreign.key.as_str());
    (key.is_none() || key == refers_by).then_some((index, field))
}

fn invalid_option(name: &str, message: &str) -> Problem {
    invalid_options([(name.to_owned(), message.into())].into_iter().collect())
}

/// Refuses arguments, each with what is wrong with it.
fn invalid_options(wrong: Map<String, Json>) -> Problem {
    let each = wrong.iter().map(|(name, message)| {
        let message = message.as_str().unwrap_or_default();
        format!("{name}: {message}")
    });
    let each = each.collect::<Vec<_>>().join("; ");
    Problem::new(Kind::InvalidOptions, format!("invalid options ({each})")).with_fields(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_is_true_or_false() {
        let cluster = |query| Query::parse(query).cluster().ok();
        assert_eq!(cluster(None), Some(false));
        assert_eq!(cluster(Some("cluster=false")), Some(false));
        assert_eq!(cluster(Some("cluster=true")), Some(true));
        for wrong in [
            "cluster",
            "cluster=1",
            "cluster=yes",
            "cluster=true&cluster=true",
            "clutser=true",
        ] {
            assert_eq!(cluster(Some(wrong)), None, "{wrong}");
        }
    }
}
