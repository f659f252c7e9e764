//! JSON values and times, formatted for people.

use serde_json::Value as Json;

/// Formats a field's value; a dash for `null`.
pub(super) fn said(value: &Json) -> String {
    match value {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats whole seconds in their largest units, two at most.
pub(super) fn spoken(seconds: &Json) -> String {
    let Some(seconds) = seconds.as_u64() else {
        return said(seconds);
    };

    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// Formats seconds, in milliseconds below one second.
pub(super) fn seconds(value: &Json) -> String {
    match value.as_f64() {
        Some(0.0) => "0".to_owned(),
        Some(seconds) if seconds < 1.0 => format!("{:.1}ms", seconds * 1_000.0),
        Some(seconds) => format!("{seconds:.1}s"),
        None => said(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_time_has_two_units_at_most() {
        let said = [59, 61, 3_700, 90_000].map(|seconds| spoken(&json!(seconds)));
        assert_eq!(said, ["59s", "1m 1s", "1h 1m", "1d 1h"]);
        let said = [0.0, 0.0014, 1.5].map(|time| seconds(&json!(time)));
        assert_eq!(said, ["0", "1.4ms", "1.5s"]);
        assert_eq!(seconds(&Json::Null), "-");
    }
}
