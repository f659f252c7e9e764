//! A two-level cache whose fenced loads never fill it with stale values.
