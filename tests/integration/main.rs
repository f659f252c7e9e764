//! The promises that span crates, through the public API and over real HTTP. One binary, so that it
//! links once.

mod acceptance;
mod admin_api;
mod admin_given;
mod any_entity;
mod audited;
mod cached;
mod client;
mod cluster;
mod cluster_events;
mod coherence;
mod commits;
mod composite;
mod conformance;
mod database_troubles;
mod documents;
mod earlier_databases;
mod ends;
mod event_stream;
mod examples;
mod explain;
mod feed_starts;
mod freshness;
mod gateway;
mod heard;
mod key_auth;
mod node;
mod on_sight;
mod other_programs;
mod put_back;
mod receipts;
mod receipts_http;
mod recorded;
mod shared_file;
mod warm;
