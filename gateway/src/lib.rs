//! The runnable program: a key-auth gateway built on Tidings.
//!
//! Clients come in on the proxy side, where each worker accepts for itself, looks the key of a request up in
//! the two-level cache and passes the request on; the admin side changes consumers, credentials and groups
//! while that runs. When the answer to such a change is out, no worker goes by the old rows any more.

mod entities;
mod front;
mod gateway;
mod plugin;
mod plugins;
mod proxy;
mod server;
mod settings;
mod warm;

pub use self::{
    entities::{Acl, Consumer, KeyAuthCredential},
    gateway::{Gateway, GatewayBuilder, StartError},
    plugin::{BodyError, Plugin, ProxyBody, ProxyRequest, Response, refuse},
    settings::{
        Fault, Limits, LogFormat, PluginSwitches, Secret, Settings, SettingsError, Source,
        UpstreamAddress,
    },
};

#[cfg(test)]
mod tests;
