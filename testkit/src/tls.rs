//! [`Certificates`]: those that the clients of a server with TLS trust, or must not trust.

use std::{
    io,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Server,
    server::{command_of_user, copy_template, run},
};

/// The certificates of a server with TLS, made by `openssl`. They are removed with the server.
#[derive(Debug)]
pub struct Certificates {
    directory: PathBuf,
}

impl Certificates {
    /// Returns the self-signed certificate of the authority that signed the server's.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.directory.join("authority.crt")
    }

    /// Returns the certificate of another authority, which signed nothing.
    #[must_use]
    pub fn stranger(&self) -> PathBuf {
        self.directory.join("stranger.crt")
    }
}

impl Server {
    /// Starts a server with TLS. Its certificate is for the name `localhost`.
    ///
    /// # Panics
    ///
    /// `openssl` is not installed, or the server does not start.
    #[must_use]
    pub fn start_tls() -> (Self, Certificates) {
        let files = [
            "ssl=on",
            "ssl_cert_file=../server.crt",
            "ssl_key_file=../server.key",
        ];
        let server = Self::start_with(&files, |directory| {
            copy_template(directory)?;
            authority(directory, "authority")?;
            authority(directory, "stranger")?;
            let mut sign = request(directory, "server", "/CN=localhost");
            sign.args(["-CA", "authority.crt", "-CAkey", "authority.key"]);
            sign.args(["-addext", "subjectAltName=DNS:localhost"]);
            run(sign.args(["-addext", "basicConstraints=critical,CA:FALSE"]))
        });
        let directory = server.directory.clone();
        (server, Certificates { directory })
    }
}

/// Makes a self-signed certificate.
fn authority(directory: &Path, name: &str) -> io::Result<()> {
    run(&mut request(directory, name, &format!("/CN={name}")))
}

/// Returns the command that makes a key, and a certificate that is valid for a day.
fn request(directory: &Path, name: &str, subject: &str) -> Command {
    let mut command = command_of_user(directory, Path::new("openssl"));
    command.current_dir(directory);
    command.args(["req", "-x509", "-newkey", "ec", "-nodes", "-days", "1"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1"]);
    command.args(["-subj", subject]);
    command.args(["-keyout", &format!("{name}.key")]);
    command.args(["-out", &format!("{name}.crt")]);
    command
}
