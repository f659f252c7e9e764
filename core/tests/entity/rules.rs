//! The rules of a schema: each broken one is named, with its field.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tidings_core::{
    Auto, CrudEvent, Entity, Field, Row, Rule, Schema, SchemaBuilder, Timestamp, Value, Violations,
    check_all,
};

const MOST: i64 = 9;

/// Has every rule.
#[derive(Entity, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[entity(
    name = "offers",
    check = "starts_before_it_ends",
    check = "self::is_fair"
)]
struct Offer {
    #[entity(primary_key)]
    id: i64,
    #[entity(immutable, length(min = 2, max = 5))]
    code: String,
    #[entity(pattern = "[a-z]+", length(max = 3), one_of("a", "b", "cd"))]
    labels: Option<BTreeSet<String>>,
    #[entity(default = "open", one_of("open", "closed"))]
    state: String,
    #[entity(default = MOST)]
    most: i64,
    #[entity(default = -1)]
    weight: Option<f64>,
    #[entity(default = true)]
    enabled: bool,
    #[entity(secret, pattern = "[0-9]{4}")]
    pin: Option<String>,
    from: Option<Timestamp>,
    #[entity(expires)]
    until: Option<Timestamp>,
}

fn starts_before_it_ends(offer: &Offer) -> Result<(), Violations> {
    match (offer.from, offer.until) {
        (Some(from), Some(until)) if from >= until => {
            Err(Violations::check("until", "must lie after from"))
        }
        _ => Ok(()),
    }
}

fn is_fair(offer: &Offer) -> Result<(), Violations> {
    if offer.most == 13 {
        Err(Violations::check("@entity", "is not fair"))
    } else {
        Ok(())
    }
}

fn offer() -> Offer {
    Offer {
        id: 1,
        code: "abc".to_owned(),
        labels: None,
        state: "open".to_owned(),
        most: 1,
        weight: None,
        enabled: false,
        pin: Some("1234".to_owned()),
        from: None,
        until: None,
    }
}

fn now() -> Timestamp {
    Timestamp::from_unix(1_700_000_000)
}

/// What an insert of a changed offer violates.
fn broken(edit: impl FnOnce(&mut Offer)) -> Vec<(String, Rule, String)> {
    let mut offer = offer();
    edit(&mut offer);
    let inserted = Offer::schema().complete_insert(offer.to_row(), now());
    let violations = inserted.expect_err("a broken rule passed").0;
    violations
        .into_iter()
        .map(|it| (it.field, it.rule, it.message))
        .collect()
}

fn one(field: &str, rule: Rule, message: &str) -> Vec<(String, Rule, String)> {
    vec![(field.to_owned(), rule, message.to_owned())]
}

fn labels(labels: &[&str]) -> Option<BTreeSet<String>> {
    Some(labels.iter().map(|&label| label.to_owned()).collect())
}

#[test]
fn a_sound_schema_with_every_rule_passes() {
    check_all(&[Offer::schema()]).expect("no fault");
    let schema = Offer::schema();
    assert_eq!(schema.expiry(), Some(9));
    assert!(schema.has_secrets());
    let names: Vec<_> = schema.checks().iter().map(|it| it.name()).collect();
    assert_eq!(names, ["starts_before_it_ends", "self::is_fair"]);
}

#[test]
fn a_broken_rule_is_named_with_its_field() {
    let code = |code: &str| {
        let code = code.to_owned();
        broken(move |offer| offer.code = code)
    };
    let few = one("code", Rule::Length, "length must be at least 2");
    assert_eq!(code("é"), few);
    let many = one("code", Rule::Length, "length must be at most 5");
    assert_eq!(code("éééééé"), many);

    let members = |members: &[&str]| {
        let members = labels(members);
        broken(move |offer| offer.labels = members)
    };
    assert_eq!(members(&["a", "b", "cd", "e"])[0].1, Rule::Length);
    let form = one(
        "labels",
        Rule::Pattern,
        "each member: must match the pattern [a-z]+",
    );
    assert_eq!(members(&["a", "B"]), form);
    let listed = one(
        "labels",
        Rule::OneOf,
        "each member: must be one of: a, b, cd",
    );
    assert_eq!(members(&["a", "e"]), listed);

    let state = broken(|offer| offer.state = "shut".to_owned());
    let allowed = one("state", Rule::OneOf, "must be one of: open, closed");
    assert_eq!(state, allowed);
    // The whole text is to match.
    let pin = broken(|offer| offer.pin = Some("12345".to_owned()));
    let form = one("pin", Rule::Pattern, "must match the pattern [0-9]{4}");
    assert_eq!(pin, form);
}

#[test]
fn a_check_function_sees_the_whole_row_once_its_fields_are_right() {
    let late = |offer: &mut Offer| {
        offer.from = Some(Timestamp::from_unix(7));
        offer.until = Some(Timestamp::from_unix(7));
    };
    let expected = one("until", Rule::Check, "must lie after from");
    assert_eq!(broken(late), expected);
    let both = broken(|offer| {
        late(offer);
        offer.most = 13;
    });
    assert_eq!(both.len(), 2, "{both:?}");
    let wrong_too = broken(|offer| {
        late(offer);
        offer.code.clear();
    });
    assert_eq!(wrong_too.len(), 1, "{wrong_too:?}");
    assert_eq!(wrong_too[0].1, Rule::Length);
}

#[test]
fn a_default_stands_in_for_an_absent_value_alone() {
    let schema = Offer::schema();
    let given = json!({"id": 1, "code": "abc"});
    let patch = schema.patch_from_json(given.as_object().unwrap()).unwrap();
    let row = Row::empty(schema).patched(schema, &patch).unwrap();
    let made = Offer::from_row(schema.complete_insert(row, now()).unwrap()).unwrap();
    assert_eq!((made.state.as_str(), made.most), ("open", MOST));
    assert_eq!((made.weight, made.enabled), (Some(-1.0), true));

    // A struct says false, zero and the empty text, and means them.
    let row = schema.leave_unset(offer().to_row());
    let made = Offer::from_row(schema.complete_insert(row, now()).unwrap()).unwrap();
    assert!(!made.enabled);
    // An update clears what may be absent.
    let cleared = Offer {
        weight: None,
        ..made
    };
    let updated = schema.complete_update(cleared.to_row(), now()).unwrap();
    assert_eq!(Offer::from_row(updated).unwrap().weight, None);
}

#[test]
fn an_update_may_not_change_immutable_fields() {
    let schema = Offer::schema();
    let old = offer().to_row();
    let changed = Offer {
        id: 2,
        code: "xyz".to_owned(),
        most: 5,
        ..offer()
    };
    let violations = schema.check_kept(&old, &changed.to_row()).unwrap_err().0;
    let rules: Vec<_> = violations.iter().map(|it| (&*it.field, it.rule)).collect();
    assert_eq!(rules, [("id", Rule::Immutable), ("code", Rule::Immutable)]);
    let same = Offer { most: 5, ..offer() };
    schema.check_kept(&old, &same.to_row()).expect("kept");
}

#[test]
fn violations_of_a_request_name_their_rule_too() {
    let schema = Offer::schema();
    let text = r#"{"nmae": 1, "code": 7, "weight": 9007199254740993}"#;
    let object: serde_json::Value = serde_json::from_str(text).unwrap();
    let refused = schema.patch_from_json(object.as_object().unwrap());
    let mut rules: Vec<_> = refused
        .unwrap_err()
        .0
        .into_iter()
        .map(|it| (it.field, it.rule.to_string()))
        .collect();
    rules.sort();
    let expected = [("code", "kind"), ("nmae", "unknown"), ("weight", "range")];
    assert_eq!(rules, expected.map(|(f, r)| (f.to_owned(), r.to_owned())));
    let missing = schema
        .complete_insert(Row::empty(schema), now())
        .unwrap_err();
    assert!(missing.0.iter().all(|it| it.rule == Rule::Required));
}

#[test]
fn a_secret_is_masked_in_what_is_shown_and_in_the_debug_form_of_a_change() {
    let row = offer().to_row();
    assert_eq!(row.to_json(Offer::schema())["pin"], "1234");
    assert_eq!(row.to_shown_json(Offer::schema())["pin"], "***");
    let absent = Offer {
        pin: None,
        ..offer()
    };
    assert!(absent.to_row().to_shown_json(Offer::schema())["pin"].is_null());

    let change = CrudEvent::updated(
        offer(),
        Offer {
            pin: Some("9876".to_owned()),
            ..offer()
        },
    );
    let shown = format!("{change:?}");
    assert!(
        !shown.contains("1234") && !shown.contains("9876"),
        "{shown}"
    );
    assert!(shown.contains("***") && shown.contains("abc"), "{shown}");
}

#[test]
fn a_schema_tells_its_rules() {
    let json = Offer::schema().to_json();
    let field = |name: &str| {
        let fields = json["fields"].as_array().unwrap().iter();
        fields
            .clone()
            .find(|it| it["name"] == name)
            .unwrap()
            .clone()
    };
    assert_eq!(field("code")["immutable"], true);
    assert_eq!(field("code")["length"], json!({"min": 2, "max": 5}));
    assert_eq!(field("state")["default"], "open");
    assert_eq!(field("state")["required"], false);
    assert_eq!(field("state")["one_of"], json!(["open", "closed"]));
    assert_eq!(field("pin")["secret"], true);
    assert_eq!(field("pin")["pattern"], "[0-9]{4}");
    assert_eq!(field("until")["expires"], true);
    assert!(field("most").get("immutable").is_none());
}

fn sound() -> SchemaBuilder {
    Schema::builder("things").field(Field::of::<i64>("id").primary_key())
}

#[track_caller]
fn assert_faults(schema: SchemaBuilder, expected: &[&str]) {
    let faults = check_all(&[&schema.build()]).expect_err("a faulty schema passed");
    let expected = expected.iter().map(|fault| format!("things: {fault}"));
    assert_eq!(faults.0, expected.collect::<Vec<_>>());
}

#[test]
fn faults_of_rules_are_found_at_start() {
    assert_faults(
        sound().field(
            Field::of::<i64>("a")
                .length(1..=3)
                .pattern("[0-9]")
                .expires(),
        ),
        &[
            "field a is of kind integer; length needs a string, bytes, a set, a list or a map",
            "field a is of kind integer; pattern needs a string, a set or a list",
            "field a is of kind integer; expires needs a timestamp in seconds",
        ],
    );
    assert_faults(
        sound().field(Field::of::<String>("a").length(5..=usize::from(3_u8))),
        &["field a: no value has the length demanded"],
    );
    assert_faults(
        sound().field(Field::of::<String>("a").pattern("(")),
        &["field a: the pattern is faulty: unclosed group"],
    );
    // Put into the group of the whole text, it would be two patterns, each open at one end.
    assert_faults(
        sound().field(Field::of::<String>("a").pattern("a)|(?:b")),
        &["field a: the pattern is faulty: unopened group"],
    );
    assert_faults(
        sound().field(Field::of::<String>("a").one_of([7_i64])),
        &["field a is of kind string, and not all that it is to be one of"],
    );
    assert_faults(
        sound()
            .field(Field::of::<String>("a").default("x").length(2..))
            .field(Field::of::<i64>("b").default("x"))
            .field(Field::of::<i64>("c").default(7_i64).unique())
            .field(
                Field::of::<Timestamp>("d")
                    .auto(Auto::UpdateTime)
                    .immutable(),
            ),
        &[
            "field a: the default: length must be at least 2",
            "field b: the default: expected an integer",
            "field c cannot have a default: it is made, or no two rows may have the same value",
            "field d is set by every write, so it cannot be immutable",
        ],
    );
    let time = |name: &str| Field::of::<Option<Timestamp>>(name).expires();
    assert_faults(
        sound()
            .field(time("a"))
            .field(time("b"))
            .field(Field::of::<i64>("ttl")),
        &[
            "a row expires by one field, and 2 are marked",
            "rows expire, so that no field can be named ttl: it is how the time is given in seconds",
        ],
    );
}

#[test]
fn names_that_a_database_keeps_for_itself_are_refused() {
    let long = "a".repeat(64);
    assert_faults(
        sound()
            .field(Field::of::<String>("xmin"))
            .field(Field::of::<String>("rowid"))
            .field(Field::of::<String>(&long)),
        &[
            "field xmin: the name xmin is reserved by PostgreSQL",
            "field rowid: the name rowid is reserved by SQLite",
            &format!("field {long}: a name has at most 63 characters"),
        ],
    );
    for (name, by) in [
        ("sqlite_things", "SQLite"),
        ("pg_things", "PostgreSQL"),
        ("tidings_new", "Tidings"),
    ] {
        let schema = Schema::builder(name)
            .field(Field::of::<i64>("id").primary_key())
            .build();
        let faults = check_all(&[&schema]).unwrap_err().0;
        assert!(faults[0].contains(by), "{faults:?}");
    }
    // Words of SQL are quoted.
    let words = sound().field(Field::of::<String>("order")).build();
    check_all(&[&words]).expect("no fault");

    assert_faults(
        sound()
            .field(Field::of::<String>("size").unique())
            .admin_api("things", None),
        &[
            "field size cannot be unique or foreign: lists of the admin API take an argument of this name",
        ],
    );
}

#[test]
fn values_are_compared_as_they_are() {
    let field = Field::of::<i64>("a").one_of([1_i64, 2]);
    assert!(field.check(&Value::from(2_i64)).is_ok());
    let breach = field.check(&Value::from(3_i64)).unwrap_err();
    assert_eq!(breach.message, "must be one of: 1, 2");
}
