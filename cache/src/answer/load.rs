//! Loads: what a caller passes to fetch a missing value.

use std::future::Future;

use futures_util::{FutureExt, future::BoxFuture};
use tidings_core::CacheKey;

use crate::{answer::loaded::Loaded, error::BoxError, loading, sync::off_the_loop};

/// The callback that `get` runs on a miss.
///
/// Every `FnOnce() -> impl Future<Output = Result<impl Into<Loaded<V>>, impl Into<BoxError>>>` is a
/// load: a closure whose future returns an `Option` of the value, or a [`Loaded`] with options. The
/// closure runs on its caller's thread and may borrow from it; the future must be `Send + 'static`,
/// because it runs on the cache's runtime.
///
/// # Examples
///
/// ```
/// use tidings_cache::{Cache, CacheKey, GetError, GetOptions, Load};
///
/// // A function that is generic over its load needs one name for it.
/// async fn name_of<L: Load<String>>(
///     cache: &Cache,
///     key: &CacheKey,
///     load: L,
/// ) -> Result<String, GetError> {
///     let name = cache.get(key, GetOptions::default(), load).await?;
///     Ok(name.map_or_else(|| "unknown".to_owned(), |name| String::clone(&name)))
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a load of `{V}`",
    label = "not a load of `{V}`",
    note = "a load is a closure `|| async {{ Ok::<_, Error>(Some(value)) }}`: `FnOnce() -> impl Future<Output = Result<L, E>>`,",
    note = "with a future that is `Send + 'static`, `L: Into<Loaded<{V}>>` (an `Option<{V}>` is) and `E: Into<BoxError>`"
)]
pub trait Load<V>: Send {
    /// Begins the load. Called on the caller's thread; the future runs elsewhere.
    fn load(self) -> BoxFuture<'static, Result<Loaded<V>, BoxError>>;
}

impl<V, F, Fut, L, E> Load<V> for F
where
    V: Send + 'static,
    F: FnOnce() -> Fut + Send,
    Fut: Future<Output = Result<L, E>> + Send + 'static,
    L: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    fn load(self) -> BoxFuture<'static, Result<Loaded<V>, BoxError>> {
        let loading = self();
        async move {
            match loading.await {
                Ok(loaded) => Ok(loaded.into()),
                Err(error) => Err(error.into()),
            }
        }
        .boxed()
    }
}

/// Makes a load from a plain function that may block, for a backing store without futures.
///
/// The function runs on one of the runtime's threads for blocking code, or on the executor itself
/// if that is not tokio's. It counts as one load, so its own calls of the cache need no further
/// permit.
///
/// # Examples
///
/// ```
/// use tidings_cache::{Cache, CacheKey, GetOptions, blocking};
///
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().build()?;
/// let key = CacheKey::new("files", &["hosts"]);
/// let load = blocking(|| std::fs::read_to_string("/etc/hosts").map(Some));
/// let hosts = cache.get::<String, _>(&key, GetOptions::default(), load).await?;
/// # let _ = hosts;
/// # Ok(()) }
/// ```
pub fn blocking<L, E>(
    load: impl FnOnce() -> Result<L, E> + Send + 'static,
) -> impl FnOnce() -> BoxFuture<'static, Result<L, E>> + Send
where
    L: Send + 'static,
    E: Send + 'static,
{
    || off_the_loop(|| loading::within(load)).boxed()
}

/// The values that a bulk load found, each with its key.
type Many<V> = Vec<(CacheKey, Loaded<V>)>;

/// The return type of a load of [`get_bulk`](crate::Cache::get_bulk): a future of the values that
/// were found, each with its key.
///
/// Every `Future<Output = Result<Vec<(CacheKey, impl Into<Loaded<V>>)>, impl Into<BoxError>>>` is
/// one that is `Send + 'static`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a bulk load of `{V}` returns",
    note = "a bulk load is a closure `|keys| async move {{ Ok::<_, Error>(vec![(key, Some(value))]) }}` with a `Send + 'static` future"
)]
pub trait LoadMany<V>: Send {
    /// Turns the future into one of the cache's own shape.
    fn load(self) -> BoxFuture<'static, Result<Many<V>, BoxError>>;
}

impl<V, Fut, L, E> LoadMany<V> for Fut
where
    V: Send + 'static,
    Fut: Future<Output = Result<Vec<(CacheKey, L)>, E>> + Send + 'static,
    L: Into<Loaded<V>>,
    E: Into<BoxError>,
{
    fn load(self) -> BoxFuture<'static, Result<Many<V>, BoxError>> {
        async move {
            let found = self.await.map_err(Into::into)?;
            let found = found
                .into_iter()
                .map(|(key, loaded)| (key, loaded.into()))
                .collect();
            Ok(found)
        }
        .boxed()
    }
}
