//! The listings of the guide and of the README: rustdoc compiles and runs them with this crate's
//! tests. Each page is the documentation of an item that exists for nothing else.

macro_rules! pages {
    ($($name:ident = $path:literal;)*) => {$(
        #[doc = include_str!($path)]
        struct $name;
    )*};
}

pages! {
    Readme = "../README.md";
    Introduction = "../docs/src/introduction.md";
    GettingStarted = "../docs/src/getting-started.md";
    Tokio = "../docs/src/tokio.md";
    Listening = "../docs/src/listening.md";
    Entities = "../docs/src/entities.md";
    DayTwo = "../docs/src/day-two.md";
    Invalidating = "../docs/src/invalidating.md";
    Tuning = "../docs/src/tuning.md";
    Moka = "../docs/src/moka.md";
    Kong = "../docs/src/kong.md";
    Gateway = "../docs/src/gateway.md";
    Nodes = "../docs/src/nodes.md";
    Streams = "../docs/src/streams.md";
    Freshness = "../docs/src/freshness.md";
    Commands = "../docs/src/commands.md";
    Limits = "../docs/src/limits.md";
    Questions = "../docs/src/faq.md";
}
