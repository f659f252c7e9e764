//! [`Layers`]: the values of flags, variables and the file. A flag wins over a variable, and that
//! over the file.

use std::{
    ffi::{OsStr, OsString},
    path::Path,
};

use clap::ArgMatches;

use super::{
    environment::{CONFIG, Environment, RUST_LOG},
    file,
    row::{Default, Row},
    source::{Fault, Raw, Secrecy, SettingsError, Source},
    wrong::Wrong,
};

/// The values of flags, variables and the file, and the faults found so far.
pub(super) struct Layers<'a> {
    table: &'a [Row],
    /// The flags; earlier ones win over later ones of the same name.
    flags: Vec<&'a ArgMatches>,
    env: &'a Environment,
    file: Vec<(&'static str, Raw)>,
    faults: Vec<Fault>,
}

impl<'a> Layers<'a> {
    /// Takes the values of the program itself. Variables that look like ours are refused unless it
    /// or another command knows them.
    pub(super) fn new(
        table: &'a [Row],
        others: &[Row],
        flags: Vec<&'a ArgMatches>,
        env: &'a Environment,
    ) -> Self {
        Self {
            faults: env.unknown(table, others),
            ..Self::of_command(table, flags, env)
        }
    }

    /// Takes the values of a command; the environment may hold settings of the program as well.
    pub(super) fn of_command(
        table: &'a [Row],
        flags: Vec<&'a ArgMatches>,
        env: &'a Environment,
    ) -> Self {
        Self {
            table,
            flags,
            env,
            file: Vec::new(),
            faults: Vec::new(),
        }
    }

    /// Returns the path of the file of settings.
    pub(super) fn config(&self) -> Option<OsString> {
        let flag = self.flag("config").cloned();
        let variable = self.env.get(CONFIG).filter(|path| !path.is_empty());
        flag.or_else(|| variable.map(OsStr::to_owned))
    }

    pub(super) fn read_file(&mut self, path: &Path) {
        match file::read(path, self.table) {
            Ok(keys) => self.file = keys,
            Err(faults) => self.faults.extend(faults),
        }
    }

    /// Takes an option's value, or that of its default; `None` with a fault noted.
    pub(super) fn take<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&Raw) -> Result<T, Wrong>,
    ) -> Option<T> {
        let row = *self.row(name)?;
        let raw = match self.raw(&row) {
            Ok(Some(raw)) => raw,
            Ok(None) => match row.default {
                Default::Unset(_) => Raw::absent(),
                Default::Text(text) => Raw::text(text, Source::Default),
                Default::Computed(value, _) => Raw::text(value(), Source::Default),
            },
            Err(fault) => {
                self.faults.push(fault);
                return None;
            }
        };

        match parse(&raw) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.fault(&row, &raw, &wrong.reason(&row.allowed()));
                None
            }
        }
    }

    /// Refuses the value of an option for a reason that lies in another option.
    pub(super) fn refuse(&mut self, name: &'static str, reason: &str) {
        let Some(row) = self.row(name).copied() else {
            return;
        };
        if let Ok(Some(raw)) = self.raw(&row) {
            self.fault(&row, &raw, reason);
        }
    }

    pub(super) fn missing_token(&mut self, address: std::net::SocketAddr) {
        self.faults.push(Fault::other(format!(
            "--admin-token (TIDINGS_ADMIN_TOKEN, key admin-token) is not set: \
             the admin API at {address} can be reached from other machines, and is opened there only with a token"
        )));
    }

    /// Returns every fault that was found, if there is one.
    pub(super) fn finish(&mut self) -> Result<(), SettingsError> {
        if self.faults.is_empty() {
            Ok(())
        } else {
            Err(SettingsError::Faults(std::mem::take(&mut self.faults)))
        }
    }

    fn fault(&mut self, row: &Row, raw: &Raw, reason: &str) {
        let fault = Fault::new(row.name, row.secrecy, raw, reason);
        self.faults.push(fault);
    }

    fn row(&self, name: &str) -> Option<&'a Row> {
        self.table.iter().find(|row| row.name == name)
    }

    fn raw(&self, row: &Row) -> Result<Option<Raw>, Fault> {
        if let Some(value) = self.flag(row.name) {
            return Ok(Some(Raw::os(
                value,
                Source::Flag(format!("--{}", row.name)),
            )));
        }
        if let Some(raw) = self.variable(row)? {
            return Ok(Some(raw));
        }

        let mut keys = self.file.iter();
        let key = keys.find(|(key, _)| *key == row.name);
        Ok(key.map(|(_, raw)| raw.clone()))
    }

    fn flag(&self, name: &str) -> Option<&'a OsString> {
        let mut flags = self.flags.iter();
        flags.find_map(|flags| flags.try_get_one::<OsString>(name).ok().flatten())
    }

    fn variable(&self, row: &Row) -> Result<Option<Raw>, Fault> {
        let name = row.variable();
        let value = self.env.get(&name).filter(|value| {
            // In compose files and unit files an empty variable leaves an option out. An empty
            // secret is a mistake: whatever should have filled it did not.
            !value.is_empty() || row.secrecy == Secrecy::Secret
        });
        let value = value.map(|value| Raw::os(value, Source::Variable(name.clone())));

        let from_file = match row.file_variable() {
            Some(variable) => self.secret_file(&variable)?,
            None => None,
        };

        match (value, from_file) {
            (Some(_), Some(file)) => Err(Fault::other(format!(
                "{name} and {} are both set: remove one of them",
                file.source
            ))),
            (Some(raw), None) | (None, Some(raw)) => Ok(Some(raw)),
            (None, None) if row.name == "log" => {
                let heard = self.env.get(RUST_LOG).filter(|value| !value.is_empty());
                Ok(heard.map(|value| Raw::os(value, Source::Variable(RUST_LOG.to_owned()))))
            }
            (None, None) => Ok(None),
        }
    }

    /// Reads the file that a variable names; a line end after the value is not part of it.
    fn secret_file(&self, variable: &str) -> Result<Option<Raw>, Fault> {
        let Some(path) = self.env.get(variable).filter(|path| !path.is_empty()) else {
            return Ok(None);
        };

        let text = std::fs::read_to_string(path).map_err(|error| {
            Fault::other(format!(
                "the file {} (variable {variable}) cannot be read: {error}",
                path.display()
            ))
        })?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        Ok(Some(Raw::text(text, Source::Variable(variable.to_owned()))))
    }
}
