//! Names handlers that were given no name: short enough to read, and precise enough to find the
//! place.

use std::{any::type_name, panic::Location};

/// Names a handler by the function that registers it and the line where it does: `orders::listen
/// (src/orders.rs:42)`.
pub(crate) fn of_handler<F>(_: &F, at: &Location<'_>) -> String {
    let path = type_name::<F>();
    // A closure's path ends in `{{closure}}`, once for each closure that it is in.
    let function = path.split("::{{closure}}").next().unwrap_or(path);
    format!("{} ({}:{})", last_two(function), at.file(), at.line())
}

/// Names a type without the paths of its modules: `CrudEvent<Consumer>`.
pub(crate) fn of_type<T>() -> String {
    let mut short = String::new();
    for part in
        type_name::<T>().split_inclusive(|c: char| !c.is_alphanumeric() && c != '_' && c != ':')
    {
        let start = part.rfind("::").map_or(0, |colons| colons + 2);
        short.push_str(&part[start..]);
    }
    short
}

fn last_two(path: &str) -> &str {
    let mut colons = path.rmatch_indices("::").map(|(at, _)| at + 2);
    colons.nth(1).map_or(path, |start| &path[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handler_is_named_by_its_function_and_its_line() {
        let handler = |_: &u64| ();
        let name = of_handler(&handler, Location::caller());
        let function = "tests::a_handler_is_named_by_its_function_and_its_line";
        assert!(name.starts_with(function), "{name}");
        assert!(name.contains("label.rs:"), "{name}");
    }

    #[test]
    fn a_type_is_named_without_its_modules() {
        assert_eq!(of_type::<u64>(), "u64");
        assert_eq!(of_type::<Vec<Option<String>>>(), "Vec<Option<String>>");
        assert_eq!(
            of_type::<std::collections::HashMap<u8, &str>>(),
            "HashMap<u8, &str>"
        );
    }
}
