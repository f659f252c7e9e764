//! The runnable program: a key-auth gateway built on Tidings.
//!
//! Clients come in on the proxy side, where each worker accepts for itself, looks the key of a
//! request up in the two-level cache and passes the request on; the admin side changes consumers,
//! credentials and groups while that runs. When the answer to such a change is out, no worker goes
//! by the old rows any more.

// The order of these lines is the order of the layers, lowest first: a module imports from lines
// above it alone.
// A value that a reload replaces; knows nothing else.
mod live;
// How many files may be open; knows nothing else.
mod descriptors;
// What the service manager is told; knows nothing else.
mod notify;
// The rows that the gateway knows.
mod entities;
// The command that puts the triggers of the log in place.
mod capture;
// The command that makes the tables what the entities ask for.
mod migrate;
// Digests in place of keys; knows no setting and no request.
mod digest;
// What the program is told; knows no socket and no request.
mod settings;
// The lines that are written; knows no request.
mod log;
// Sockets, connections, their time limits and their end; knows no proxy and no plugin.
mod server;
// What a plugin is written against: requests, answers, refusals; knows no plugin and no upstream.
mod plugin;
// What the proxy side counts; knows requests by their outcome alone.
mod counts;
// The built-in plugins; they know no upstream.
mod plugins;
// From a client's request to its answer; knows no accept loop.
mod proxy;
// The cache before the first request.
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
