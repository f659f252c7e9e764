//! The built-in plugins.

mod acl;
mod api_key;
mod key_auth;

pub(crate) use self::{
    acl::{Acl, AllowedGroups},
    key_auth::{KeyAuth, KeyAuthConfig},
};
