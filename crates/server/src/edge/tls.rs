//! Certificates: loaded at the start, and again when their files change.
//!
//! A connection keeps the configuration it began with; a failed reload keeps the old
//! certificate and says why.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use crossbeam_channel::{RecvTimeoutError, Sender, bounded};
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tracing::{info, warn};

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then those that vouch for it.
    pub cert: PathBuf,
    /// PEM: the private key (PKCS#8, PKCS#1 or SEC1).
    pub key: PathBuf,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or has nothing of use in it.
    #[error("cannot read the {what} from `{}`: {why}", path.display())]
    File {
        /// Certificate or key.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// The two do not belong together, or are of a kind rustls does not take.
    #[error("the certificate `{}` and its key do not work together: {why}", cert.display())]
    Refused {
        /// Where the certificate is.
        cert: PathBuf,
        /// Why.
        why: rustls::Error,
    },
}

/// Loads both files.
pub fn load(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let file = |what: &'static str, path: &Path, why: String| TlsError::File {
        what,
        path: path.to_owned(),
        why,
    };
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&files.cert)
        .and_then(Iterator::collect)
        .map_err(|why| file("certificate", &files.cert, why.to_string()))?;
    if chain.is_empty() {
        return Err(file(
            "certificate",
            &files.cert,
            "it has no `BEGIN CERTIFICATE`".to_owned(),
        ));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(|why| file("key", &files.key, why.to_string()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let refused = |why| TlsError::Refused {
        cert: files.cert.clone(),
        why,
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(refused)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // Stateless tickets: after a restart of the network thousands come back at once, and a
    // resumed handshake costs a fraction of a full one.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(refused)?;
    Ok(config)
}

/// The certificate in use, and the thread that looks for a newer one.
pub struct Certificates {
    current: Arc<ArcSwap<ServerConfig>>,
    reload: Option<Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Certificates {
    /// Loads `files` and watches them.
    pub fn start(files: TlsFiles) -> Result<Self, TlsError> {
        let config = load(&files)?;
        let current = Arc::new(ArcSwap::from_pointee(config));
        let (reload, asked) = bounded::<()>(1);
        let shared = current.clone();
        let thread = thread::Builder::new()
            .name("certificates".to_owned())
            .spawn(move || {
                let mut seen = marks(&files);
                loop {
                    let is_asked = match asked.recv_timeout(LOOK_INTERVAL) {
                        Ok(()) => true,
                        Err(RecvTimeoutError::Timeout) => false,
                        Err(RecvTimeoutError::Disconnected) => return,
                    };
                    let marks = marks(&files);
                    // Two files do not change in one instant: a pair that does not fit is
                    // tried again when the other has changed too.
                    if is_asked || marks != seen {
                        match load(&files) {
                            Ok(config) => {
                                shared.store(Arc::new(config));
                                seen = marks;
                                info!(cert = %files.cert.display(), "certificate reloaded");
                            }
                            Err(error) => {
                                warn!(%error, "the old certificate stays in use");
                                seen = marks;
                            }
                        }
                    }
                }
            })
            .map_err(|why: io::Error| TlsError::File {
                what: "certificate",
                path: PathBuf::new(),
                why: format!("no thread to watch it: {why}"),
            })?;
        Ok(Self {
            current,
            reload: Some(reload),
            thread: Some(thread),
        })
    }

    /// What new connections use.
    pub fn current(&self) -> Arc<ArcSwap<ServerConfig>> {
        self.current.clone()
    }

    /// Loads the files again, soon.
    pub fn reload(&self) {
        if let Some(reload) = &self.reload {
            // One that is asked for already will do.
            let _ = reload.try_send(());
        }
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        self.reload = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Tells one content of the two files from another, also behind symbolic links.
fn marks(files: &TlsFiles) -> [Option<(u64, i64, i64, u64)>; 2] {
    [&files.cert, &files.key].map(|path| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec(), meta.len()))
    })
}
