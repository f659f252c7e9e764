//! Standbys: copies of a server that follow it.

use crate::{
    Server,
    server::{binary, command_of_user, run},
};

impl Server {
    /// Starts a hot standby of this server, which follows it until it is promoted.
    ///
    /// # Panics
    ///
    /// The copy cannot be made, or does not start.
    #[must_use]
    pub fn standby(&self) -> Self {
        Self::start_with(&[], |directory| {
            let mut copy = command_of_user(directory, &binary("pg_basebackup")?);
            copy.args(["-h", "127.0.0.1", "-U", "postgres"]);
            copy.arg("-p").arg(self.port().to_string());
            copy.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
            run(copy.arg("-D").arg(directory.join("data")))
        })
    }

    /// Promotes a standby to a primary, and waits until it is one.
    ///
    /// # Panics
    ///
    /// The server is not a standby, or cannot be reached.
    pub fn promote(&self) {
        let promoted = self
            .existing("postgres")
            .psql("SELECT pg_promote(wait => true)");
        assert_eq!(promoted.trim(), "t", "a standby becomes a primary");
    }
}
