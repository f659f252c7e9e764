//! The kinds of databases in this build, and the advice for a URL of another kind.

/// The features of kinds of databases that this program was built with.
pub(super) const BUILT: &[&str] = &[
    #[cfg(feature = "sqlite")]
    "sqlite",
    #[cfg(feature = "postgres")]
    "postgres",
];

/// Returns the advice for an unsupported scheme: another build, if one would support it.
pub(super) fn expected_of(scheme: &str, built: &[&str]) -> String {
    let feature = match scheme {
        "postgresql" => "postgres",
        other => other,
    };
    if ["sqlite", "postgres"].contains(&feature) && !built.contains(&feature) {
        format!("this program was built without the cargo feature `{feature}` of tidings")
    } else {
        "use sqlite://PATH, sqlite::memory: or postgres://HOST/DATABASE".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_that_this_build_leaves_out_is_told_with_its_feature() {
        for scheme in ["postgres", "postgresql"] {
            let said = expected_of(scheme, &["sqlite"]);
            assert!(
                said.ends_with("without the cargo feature `postgres` of tidings"),
                "{said}"
            );
            assert!(expected_of(scheme, &["postgres"]).starts_with("use sqlite://PATH"));
        }
        assert!(expected_of("sqlite", &["postgres"]).contains("`sqlite`"));
        assert!(expected_of("mysql", &[]).starts_with("use sqlite://PATH"));
    }
}
