//! [`Store`]: the database, its lock and its connections; what makes tables of schemas.

use std::{
    fmt,
    path::PathBuf,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings_core::{Entity, Schema, check_all, clock::Clock};
use tokio::{runtime::Handle, sync::Mutex as AsyncMutex};

use crate::{
    api::{dao::Dao, shared::Shared, table::Table},
    error::Error,
    sink::ChangeSink,
    sqlite::{
        connection::{Readers, Writer},
        layout::lay_out,
        location::{Identity, Location, Lock, canonical},
    },
    write::{attached::Attached, catalog::Catalog, commit::Route},
};

/// A database, opened for this process alone. Cheap to clone; all clones are one store.
///
/// # Examples
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), tidings_store::Error> {
/// let store = tidings_store::Store::open("sqlite::memory:").await?;
/// assert!(store.health().await.reachable);
/// store.close().await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What [`Store::attach`] needs to know.
pub struct Attachment {
    /// The schemas of all entities.
    pub schemas: Vec<&'static Schema>,
    /// Who hears of commits.
    pub sink: Arc<dyn ChangeSink>,
    /// Where the times of creation and update come from.
    pub clock: Arc<dyn Clock>,
    /// Where writes run. It should outlive the store: what is being written when it shuts down ends in doubt.
    pub runtime: Handle,
}

/// The state of a store, for status pages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// Whether the database answers.
    pub reachable: bool,
    /// Why not, if it does not.
    pub error: Option<String>,
    /// The kind of database.
    pub engine: &'static str,
    /// The database file; none for an in-memory database.
    pub path: Option<PathBuf>,
    /// Whether a write is being done.
    pub writer_busy: bool,
}

impl Store {
    /// Opens a database: `sqlite://PATH` (made if it is not there) or `sqlite::memory:` (private to this
    /// store, and gone with it).
    ///
    /// A file is locked until the store is [closed](Self::close) or its last handle is dropped; a killed
    /// process leaves no lock behind. Programs that are not stores are not kept out: what they change, no
    /// cache hears of.
    ///
    /// # Errors
    ///
    /// [`Error::Url`], [`Error::Unsupported`], [`Error::InUse`], [`Error::Open`], [`Error::NotADatabase`],
    /// [`Error::Corrupt`].
    ///
    /// # Cancel safety
    ///
    /// Dropping the future opens nothing and leaves no lock; an empty file may have been made.
    pub async fn open(url: &str) -> Result<Self, Error> {
        let mut location = Location::parse(url)?;
        let mut lock = None;
        if let Location::File(path) = &mut location {
            *path = canonical(path)?;
            lock = Some(Lock::take(path)?);
        }
        let connection = location.connect().await?;
        let identity = Identity::of(&location)?;
        let writer = Writer::new(location.clone(), identity.clone(), connection);
        let writer = Arc::new(AsyncMutex::new(writer));
        let readers = Readers::new(&location, identity, &writer);
        let shared = Shared {
            location,
            writer,
            readers,
            attached: OnceLock::new(),
            closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Whether [`open`](Self::open) would understand this URL. Looks at no file.
    ///
    /// # Errors
    ///
    /// [`Error::Url`] with what is wrong, [`Error::Unsupported`].
    pub fn check_url(url: &str) -> Result<(), Error> {
        Location::parse(url).map(drop)
    }

    /// Makes the tables and binds the store to those who hear of its changes. Once per store.
    ///
    /// Tables, columns that may be absent, and indexes that are missing are made; nothing that is there is
    /// altered.
    ///
    /// # Errors
    ///
    /// [`Error::Schemas`] with every fault; [`Error::Incompatible`] with every difference between the tables
    /// there are and the schemas (nothing is changed then); [`Error::AlreadyAttached`]; or the database fails.
    ///
    /// # Cancel safety
    ///
    /// All tables are made, or none.
    pub async fn attach(&self, attachment: Attachment) -> Result<(), Error> {
        let Attachment {
            schemas,
            sink,
            clock,
            runtime,
        } = attachment;
        check_all(&schemas)?;
        let attached = Attached {
            catalog: Catalog::of(&schemas),
            sink,
            clock,
            runtime,
        };
        let mut writer = self.shared.writer.lock().await;
        if self.shared.attached.get().is_some() {
            return Err(Error::AlreadyAttached);
        }
        let laid_out = match writer.begin().await {
            Ok(connection) => lay_out(connection, &schemas).await,
            Err(error) => Err(error),
        };
        if let Err(error) = laid_out {
            writer.rollback().await;
            return Err(error);
        }
        if let Err(error) = writer.commit().await {
            writer.rollback().await;
            return Err(error.into());
        }
        let set = self.shared.attached.set(Arc::new(attached));
        set.map_err(|_| Error::AlreadyAttached)
    }

    /// The typed face of an entity's table.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], [`Error::UnknownEntity`]; [`Error::OtherSchema`] if another struct of that name
    /// was attached.
    pub fn dao<E: Entity>(&self) -> Result<Dao<E>, Error> {
        let table = self.table(E::NAME)?;
        if !std::ptr::eq(table.schema(), E::schema()) && table.schema() != E::schema() {
            return Err(Error::OtherSchema {
                name: E::NAME.to_owned(),
            });
        }
        Ok(Dao::new(table))
    }

    /// An entity's table, by the entity's name.
    ///
    /// # Errors
    ///
    /// [`Error::NotAttached`], [`Error::UnknownEntity`].
    pub fn table(&self, name: &str) -> Result<Table, Error> {
        let attached = self.shared.attached.get().ok_or(Error::NotAttached)?;
        let entity = attached
            .catalog
            .find(name)
            .ok_or_else(|| Error::UnknownEntity {
                name: name.to_owned(),
                declared: attached.catalog.names(),
            })?;
        Ok(Table {
            shared: Arc::clone(&self.shared),
            route: Route {
                writer: Arc::clone(&self.shared.writer),
                attached: Arc::clone(attached),
                entity,
            },
        })
    }

    /// Asks the database for a sign of life.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does nothing else.
    pub fn health(&self) -> impl Future<Output = Health> + Send + 'static + use<> {
        let shared = Arc::clone(&self.shared);
        async move {
            let writer_busy = shared.writer.try_lock().is_err();
            let answer = shared.ping().await;
            Health {
                reachable: answer.is_ok(),
                error: answer.err().map(|error| error.to_string()),
                engine: "sqlite",
                path: match &shared.location {
                    Location::File(path) => Some(path.clone()),
                    Location::Memory => None,
                },
                writer_busy,
            }
        }
    }

    /// Waits for the reads and writes that run, closes the connections and releases the file. Later calls fail
    /// with [`Error::Closed`], those of other handles too.
    ///
    /// # Errors
    ///
    /// The database fails to close; the file is released all the same.
    ///
    /// # Cancel safety
    ///
    /// Call it again: it goes on where it was.
    pub async fn close(&self) -> Result<(), Error> {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Readers first, so that the writer's connection is the last and folds the log into the file.
        let readers = self.shared.readers.close().await;
        let writer = self.shared.writer.lock().await.close().await;
        let lock = self.shared.lock.lock();
        lock.unwrap_or_else(PoisonError::into_inner).take();
        readers?;
        Ok(writer?)
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.schemas.iter().map(|schema| schema.name());
        f.debug_struct("Attachment")
            .field("schemas", &names.collect::<Vec<_>>())
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}
