//! One field of the struct and its attributes.

use syn::{Expr, LitStr, Meta, Type, ext::IdentExt};

use crate::{
    attributes::{self, Length, ON_FIELD, ON_STRUCT},
    faults::Faults,
    names::is_identifier,
    serde_names,
    shape::{FieldType, Shape},
};

/// One field, its attributes each with the tokens that gave it.
pub(crate) struct Field {
    pub(crate) ident: syn::Ident,
    pub(crate) name: String,
    pub(crate) ty: Type,
    pub(crate) field_type: FieldType,
    pub(crate) primary_key: Option<Meta>,
    /// Whether other fields make the primary key with it.
    pub(crate) shares_key: bool,
    pub(crate) unique: Option<Meta>,
    pub(crate) required: Option<Meta>,
    pub(crate) default: Option<Expr>,
    pub(crate) immutable: Option<Meta>,
    pub(crate) secret: Option<Meta>,
    pub(crate) expires: Option<Meta>,
    pub(crate) length: Option<Length>,
    pub(crate) pattern: Option<LitStr>,
    pub(crate) one_of: Option<Vec<Expr>>,
    pub(crate) auto: Option<(Auto, Meta)>,
    pub(crate) foreign: Option<Meta>,
    pub(crate) on_delete: Option<(OnDelete, Meta)>,
    pub(crate) on_update: Option<Meta>,
}

/// How an absent value is made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Auto {
    Random,
    CreateTime,
    UpdateTime,
    Version,
}

/// What becomes of the row when the one that it refers to is deleted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDelete {
    Restrict,
    Cascade,
    SetNull,
}

impl Field {
    /// Reads one field and checks what can be said of it alone.
    pub(crate) fn read(ident: &syn::Ident, field: &syn::Field, faults: &mut Faults) -> Self {
        let mut this = Self {
            ident: ident.clone(),
            name: ident.unraw().to_string(),
            ty: field.ty.clone(),
            field_type: FieldType::of(&field.ty),
            primary_key: None,
            shares_key: false,
            unique: None,
            required: None,
            default: None,
            immutable: None,
            secret: None,
            expires: None,
            length: None,
            pattern: None,
            one_of: None,
            auto: None,
            foreign: None,
            on_delete: None,
            on_update: None,
        };
        serde_names::check(&field.attrs, faults);

        for item in attributes::items(&field.attrs, "entity", faults).0 {
            this.take(&item, faults);
        }

        this.check(faults);
        this
    }

    /// Returns whether its value identifies a row.
    pub(crate) fn identifies(&self) -> bool {
        self.unique.is_some() || (self.primary_key.is_some() && !self.shares_key)
    }

    fn take(&mut self, item: &Meta, faults: &mut Faults) {
        let Some(word) = attributes::known(item, ON_FIELD, ON_STRUCT, faults) else {
            return;
        };

        let flag = match word {
            "primary_key" => &mut self.primary_key,
            "unique" => &mut self.unique,
            "required" => &mut self.required,
            "immutable" => &mut self.immutable,
            "secret" => &mut self.secret,
            "expires" => &mut self.expires,
            "foreign" => &mut self.foreign,
            "default" => {
                let value = attributes::value(item, faults);
                return attributes::set(&mut self.default, value, item, faults);
            }
            "length" => {
                let length = attributes::length(item, faults);
                return attributes::set(&mut self.length, length, item, faults);
            }
            "pattern" => {
                let pattern = attributes::text(item, faults);
                return attributes::set(&mut self.pattern, pattern, item, faults);
            }
            "one_of" => {
                let values = attributes::values(item, faults);
                return attributes::set(&mut self.one_of, values, item, faults);
            }
            "on_delete" => {
                let value = OnDelete::read(item, faults).map(|value| (value, item.clone()));
                return attributes::set(&mut self.on_delete, value, item, faults);
            }
            "on_update" => {
                let value = attributes::choice(item, &["evict"], faults).map(|_| item.clone());
                return attributes::set(&mut self.on_update, value, item, faults);
            }
            "auto_create_time" => return self.take_auto(Auto::CreateTime, item, faults),
            "auto_update_time" => return self.take_auto(Auto::UpdateTime, item, faults),
            "version" => return self.take_auto(Auto::Version, item, faults),
            "auto" => return self.take_auto(Auto::Random, item, faults),
            other => unreachable!("`{other}` is in ON_FIELD and is not read"),
        };
        let value = attributes::flag(item, faults);
        attributes::set(flag, value, item, faults);
    }

    fn take_auto(&mut self, auto: Auto, item: &Meta, faults: &mut Faults) {
        let value = attributes::flag(item, faults).map(|item| (auto, item));
        match &self.auto {
            Some((earlier, _)) if *earlier != auto => faults.add(
                item,
                "a field is made in one way: `auto`, `auto_create_time`, `auto_update_time` or `version`",
            ),
            _ => attributes::set(&mut self.auto, value, item, faults),
        }
    }

    fn check(&self, faults: &mut Faults) {
        if !is_identifier(&self.name) {
            faults.add(
                &self.ident,
                "the name of an entity's field is made of a-z, 0-9 and _, and begins with a letter",
            );
        }

        if self.field_type.twice_optional {
            faults.add(
                &self.ty,
                "an `Option` of an `Option`: a field is absent in one way only",
            );
        }

        self.check_primary_key(faults);
        self.check_auto(faults);
        self.check_rules(faults);
        self.check_foreign(faults);
    }

    fn check_rules(&self, faults: &mut Faults) {
        use Shape::{Other, Ref, Text, Uuid};
        if let (Some(item), Text | Uuid | Other | Ref(_)) = (&self.expires, &self.field_type.shape)
        {
            faults.add(
                item,
                "`expires` needs a field of type `Timestamp` or `Option<Timestamp>`",
            );
        }

        if let (Some(_), Some((_, item))) = (&self.default, &self.auto) {
            faults.add(
                item,
                "the field has a `default`, so nothing is left to be made",
            );
        }

        if let (Some(item), Some((Auto::UpdateTime | Auto::Version, _))) =
            (&self.immutable, &self.auto)
        {
            faults.add(
                item,
                "every write sets the field, so it cannot be `immutable`",
            );
        }
    }

    fn check_primary_key(&self, faults: &mut Faults) {
        let Some(item) = &self.primary_key else {
            return;
        };

        if self.field_type.optional {
            faults.add(
                &self.ty,
                "the primary key cannot be an `Option`: every row has one",
            );
        }

        if matches!(self.auto, Some((Auto::CreateTime | Auto::UpdateTime, _))) {
            faults.add(
                item,
                "the primary key cannot be a time: two rows may be written in one second",
            );
        }

        if matches!(self.auto, Some((Auto::Version, _))) {
            faults.add(
                item,
                "the primary key cannot be a version: it would change with every write",
            );
        }
    }

    fn check_auto(&self, faults: &mut Faults) {
        use Shape::{Other, Ref, Text, Timestamp, Uuid};

        match (&self.auto, &self.field_type.shape) {
            (Some((Auto::Random, item)), Timestamp) => faults.add(
                item,
                "`auto` makes a `Uuid` or a `String`; for a time say `auto_create_time` or `auto_update_time`",
            ),
            (Some((Auto::Random, item)), Other | Ref(_)) => {
                faults.add(item, "`auto` makes a `Uuid` or a `String`, and this field is neither");
            }
            (Some((Auto::CreateTime | Auto::UpdateTime, item)), Text | Uuid | Other | Ref(_)) => {
                let word = attributes::word(item);
                faults.add(item, format!("`{word}` needs a field of type `Timestamp`"));
            }
            (Some((Auto::Version, item)), Text | Uuid | Timestamp | Ref(_)) => {
                faults.add(item, "`version` needs a field of type `i64`");
            }
            (Some((Auto::Version, item)), Other) if self.field_type.optional => {
                faults.add(item, "every row has a version: `version` needs a field of type `i64`");
            }
            _ => {}
        }
    }

    fn check_foreign(&self, faults: &mut Faults) {
        let reference = matches!(self.field_type.shape, Shape::Ref(_));
        match &self.foreign {
            Some(_) if !reference => faults.add(
                &self.ty,
                "a `foreign` field has the type `Ref<X>` or `Option<Ref<X>>`, where `X` is the entity that it \
                 refers to",
            ),
            None if reference => {
                faults.add(&self.ty, "a `Ref` is a foreign key: mark the field `#[entity(foreign)]`");
            }
            _ => {}
        }

        if self.foreign.is_none() && !reference {
            let without = [
                self.on_delete.as_ref().map(|(_, item)| item),
                self.on_update.as_ref(),
            ];
            for item in without.into_iter().flatten() {
                let word = attributes::word(item);
                faults.add(item, format!("`{word}` is for a field that is `foreign`"));
            }
        }

        if let Some((OnDelete::SetNull, item)) = &self.on_delete {
            if reference && !self.field_type.optional {
                faults.add(
                    item,
                    "`set_null` needs a field that can be cleared: `Option<Ref<X>>`",
                );
            } else if self.required.is_some() {
                faults.add(item, "`set_null` clears the field, and it is `required`");
            }
        }
    }
}

impl OnDelete {
    fn read(item: &Meta, faults: &mut Faults) -> Option<Self> {
        let text = attributes::choice(item, &["cascade", "restrict", "set_null"], faults)?;
        Some(match text.value().as_str() {
            "cascade" => Self::Cascade,
            "set_null" => Self::SetNull,
            _ => Self::Restrict,
        })
    }
}
