//! Durations and sizes: digits with a unit.

use std::time::Duration;

use tidings::cache;

use super::{
    source::Raw,
    wrong::{Parsed, Wrong, is_canonical, text},
};

const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
const LONGEST_SPAN: Duration = Duration::from_secs(10 * 60);
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// Reads digits with an optional unit.
fn quantity(text: &str) -> Parsed<(u64, String)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if !is_canonical(number) {
        return Err(Wrong::NotAllowed);
    }
    let number = number.parse().map_err(|_| Wrong::NotAllowed)?;
    Ok((number, unit.trim().to_ascii_lowercase()))
}

fn size(raw: &Raw) -> Parsed<u64> {
    let (number, unit) = quantity(text(raw)?)?;
    let unit = match unit.as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(Wrong::NotAllowed),
    };
    number.checked_mul(unit).ok_or(Wrong::NotAllowed)
}

pub(super) fn cache_size(raw: &Raw) -> Parsed<u64> {
    let bytes = size(raw)?;
    if (cache::SMALLEST_CAPACITY..=cache::LARGEST_CAPACITY).contains(&bytes) {
        Ok(bytes)
    } else {
        Err(Wrong::NotAllowed)
    }
}

pub(super) fn header_size(raw: &Raw) -> Parsed<usize> {
    let bytes = size(raw)?;
    match usize::try_from(bytes) {
        Ok(bytes) if (8 << 10..=1 << 20).contains(&bytes) => Ok(bytes),
        _ => Err(Wrong::NotAllowed),
    }
}

fn duration(raw: &Raw) -> Parsed<Duration> {
    duration_of(text(raw)?)
}

/// Reads a command's duration, up to the longest wait that the admin API allows.
///
/// # Errors
///
/// Says what is expected.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    let duration = duration_of(text).ok();
    let duration = duration.filter(|it| !it.is_zero() && *it <= LONGEST_SPAN);
    duration.ok_or_else(|| "expected a duration such as 500ms, 2s or 1m, up to 10m".to_owned())
}

fn duration_of(text: &str) -> Parsed<Duration> {
    let (number, unit) = quantity(text)?;
    let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs);
    let duration = match unit.as_str() {
        "" if number == 0 => Some(Duration::ZERO),
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        "d" => seconds(86_400),
        "" => return Err(Wrong::Because("the unit is missing".into())),
        _ => None,
    };
    duration.ok_or(Wrong::NotAllowed)
}

/// Reads how long an entry may live in the cache; zero means until it is invalidated.
pub(super) fn lifetime(raw: &Raw) -> Parsed<Option<Duration>> {
    let duration = duration(raw)?;
    if duration > cache::LONGEST_DURATION {
        return Err(Wrong::NotAllowed);
    }
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

/// Reads how old a served entry may be; zero means no bound.
pub(super) fn staleness(raw: &Raw) -> Parsed<Option<Duration>> {
    match duration(raw)? {
        Duration::ZERO => Ok(None),
        _ => within(raw, Duration::from_millis(50), tidings::LOG_RETENTIONS.1).map(Some),
    }
}

pub(super) fn timeout(raw: &Raw) -> Parsed<Duration> {
    let duration = duration(raw)?;
    let fits = !duration.is_zero() && duration <= LONGEST_TIMEOUT;
    if fits {
        Ok(duration)
    } else {
        Err(Wrong::NotAllowed)
    }
}

pub(super) fn drain_timeout(raw: &Raw) -> Parsed<Duration> {
    let duration = timeout(raw)?;
    if duration <= LONGEST_DRAIN {
        Ok(duration)
    } else {
        Err(Wrong::NotAllowed)
    }
}

pub(super) fn retention(raw: &Raw) -> Parsed<Duration> {
    let (least, most) = tidings::LOG_RETENTIONS;
    within(raw, least, most)
}

pub(super) fn poll(raw: &Raw) -> Parsed<Duration> {
    within(raw, Duration::from_millis(1), Duration::from_secs(60))
}

fn within(raw: &Raw, least: Duration, most: Duration) -> Parsed<Duration> {
    let duration = duration(raw)?;
    if (least..=most).contains(&duration) {
        Ok(duration)
    } else {
        Err(Wrong::NotAllowed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::source::Source;

    fn raw(text: &str) -> Raw {
        Raw::text(text, Source::Default)
    }

    #[test]
    fn durations_need_a_unit_unless_they_are_zero() {
        let parsed = ["500ms", "5s", "1m", "2h", "0", "0s"].map(|text| duration(&raw(text)).ok());
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let expected = [
            Some(Duration::from_millis(500)),
            seconds(5),
            seconds(60),
            seconds(7200),
            seconds(0),
            seconds(0),
        ];
        assert_eq!(parsed, expected);
        for wrong in [
            "",
            "5",
            "s",
            "5x",
            "-5s",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615h",
            "５s",
            "007s",
        ] {
            assert!(duration(&raw(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_have_binary_units() {
        let parsed = ["65536", "128m", "1g", "64K"].map(|text| cache_size(&raw(text)).ok());
        assert_eq!(
            parsed,
            [Some(65536), Some(128 << 20), Some(1 << 30), Some(64 << 10)]
        );
        for wrong in [
            "",
            "m",
            "10",
            "-1",
            "128x",
            "99999999999g",
            "9223372036854775808",
        ] {
            assert!(cache_size(&raw(wrong)).is_err(), "{wrong}");
        }
    }
}
