//! The runnable program: a key-auth gateway built on Tidings.
//!
//! Clients connect to the proxy side. Each worker accepts connections of its own, looks up the key
//! of a request in the two-level cache, and forwards the request to the upstream. Meanwhile the
//! admin side changes consumers, credentials and groups. When the answer to such a change has been
//! sent, no worker uses the old rows any more.

// The modules are in the order of the layers, lowest first. A module imports only from lines above
// it.
// A value that a reload replaces; knows nothing else.
mod live;
// The limit on open files; knows nothing else.
mod descriptors;
// Messages to the service manager; knows nothing else.
mod notify;
// The gateway's own entities.
mod entities;
// The command that installs the triggers of the log.
mod capture;
// The command that migrates the tables to the entities' schemas.
mod migrate;
// Digests in place of keys; knows no setting and no request.
mod digest;
// Flags, variables and the configuration file; knows no socket and no request.
mod settings;
// The log of the program; knows no request.
mod log;
// Sockets, connections, their time limits and their end; knows no proxy and no plugin.
mod server;
// The interface for plugins: requests, answers, refusals; knows no plugin and no upstream.
mod plugin;
// The counts of the proxy side; knows only the outcome of a request.
mod counts;
// The built-in plugins; they know no upstream.
mod plugins;
// From a client's request to its answer; knows no accept loop.
mod proxy;
// Fills the cache before the first request.
mod warm;
// The two sides as tasks: accept, serve, drain.
mod front;
// A node with both sides in front of it.
mod gateway;
// The commands besides `serve`, most of which ask a running node.
mod commands;

pub use self::{
    commands::command,
    descriptors::raise as raise_descriptor_limit,
    entities::{Acl, Consumer, KeyAuthCredential},
    gateway::{Gateway, GatewayBuilder, StartError},
    log::Log,
    notify::{State, notify},
    plugin::{BodyError, Plugin, ProxyBody, ProxyRequest, Response, refuse},
    settings::{
        AccessLog, BuiltIn, Cluster, Environment, Fault, KeyForwarding, KeyName, KeyNames,
        KeyStorage, Limits, LogFormat, Secret, Settings, SettingsError, Source, UpstreamAddress,
    },
};

#[cfg(test)]
mod tests;
