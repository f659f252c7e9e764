//! Declares channels, which binds each name to one type.

use std::{
    any::type_name,
    sync::{Arc, Weak},
};

use serde::Serialize;
use tidings_core::{CrudEvent, Entity, Operation};

use crate::{
    api::{
        bus::{Declared, WorkerEvents},
        crud::CrudChannel,
    },
    channel::{
        core::{AnyChannel, ChannelCore},
        handle::Channel,
        keep_alive::KeepAlive,
    },
    error::DeclareError,
    event::{
        info::ChannelInfo,
        name::{ANY, CRUD, split_operation},
        payload::{Event, Form},
    },
};

impl WorkerEvents {
    /// Declares a channel and binds it to its type. A repeated declaration returns the same
    /// channel.
    ///
    /// Declare a channel before you register for it. A registration for an undeclared name is
    /// refused, so that you notice a misspelt name at once. Only wildcards cover channels that are
    /// declared later.
    ///
    /// # Errors
    ///
    /// The channel carries another type, or the name is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use tidings_events::WorkerEvents;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// let numbers = bus.declare::<u64>("test", "numbers")?;
    /// numbers.post(7)?;
    ///
    /// // The channel is bound to its type.
    /// let refused = bus.declare::<String>("test", "numbers").unwrap_err();
    /// assert!(refused.to_string().contains("u64"));
    /// # Ok(()) }
    /// ```
    pub fn declare<T: Event + Serialize>(
        &self,
        source: &str,
        event: &str,
    ) -> Result<Channel<T>, DeclareError> {
        self.declare_plain(source, event, Form::json::<T>())
    }

    /// Declares a channel whose type need not serialize. Dynamic handlers receive its events, but
    /// see that they have no JSON form ([`DynamicEvent::payload`](crate::DynamicEvent::payload)). A
    /// limit on payloads ([`max_payload`](crate::WorkerEventsBuilder::max_payload)) counts bytes of
    /// JSON, so it does not apply to this channel.
    ///
    /// # Errors
    ///
    /// As for [`declare`](Self::declare).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::TcpStream;
    /// use tidings_events::WorkerEvents;
    ///
    /// struct Connected(TcpStream);
    ///
    /// let bus = WorkerEvents::builder().build()?;
    /// let connections = bus.declare_opaque::<Connected>("net", "connected")?;
    /// let greet = |new: &Connected| println!("{:?}", new.0.peer_addr());
    /// bus.register(greet, "net", "connected")?.keep();
    /// # drop(connections);
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn declare_opaque<T: Event>(
        &self,
        source: &str,
        event: &str,
    ) -> Result<Channel<T>, DeclareError> {
        self.declare_plain(source, event, Form::Opaque)
    }

    fn declare_plain<T: Event>(
        &self,
        source: &str,
        event: &str,
        form: Form,
    ) -> Result<Channel<T>, DeclareError> {
        check_name(source, event)?;
        if source == CRUD {
            return Err(bad_name(
                source,
                event,
                "the source \"crud\" belongs to entities: see declare_crud",
            ));
        }
        self.declare_with(source, event, form, None)
    }

    /// Declares the channel of an entity's changes, `("crud", E::NAME)`, which can also be listened
    /// to as `"E::NAME:create"`, `":update"` and `":delete"`.
    ///
    /// # Errors
    ///
    /// Another entity has that name, or the name is not valid.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::{sync::{Arc, atomic::{AtomicU64, Ordering}}, time::Duration};
    ///
    /// use serde::{Deserialize, Serialize};
    /// use tidings_core::{Cause, CrudEvent, Entity, Origin};
    /// use tidings_events::WorkerEvents;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let bus = WorkerEvents::builder().build()?;
    /// #[derive(Entity, Clone, Debug, Serialize, Deserialize)]
    /// #[entity(name = "flags")]
    /// struct Flag {
    ///     #[entity(primary_key)]
    ///     name: String,
    /// }
    ///
    /// let flags = bus.declare_crud::<Flag>()?;
    /// let heard = Arc::new(AtomicU64::new(0));
    /// let count = Arc::clone(&heard);
    /// let handler = move |_: &CrudEvent<Flag>| { count.fetch_add(1, Ordering::Relaxed); };
    /// bus.register(handler, "crud", "flags:create")?.keep();
    ///
    /// let change = CrudEvent::created(Flag { name: "beta".into() });
    /// let cause = Cause { number: 1, origin: Origin::Local };
    /// flags.enqueue(change, cause).dispatch().handled(Duration::from_secs(1)).await;
    /// assert_eq!(heard.load(Ordering::Relaxed), 1);
    /// # Ok(()) }
    /// ```
    pub fn declare_crud<E: Entity>(&self) -> Result<CrudChannel<E>, DeclareError> {
        check_name(CRUD, E::NAME)?;
        let read: fn(&CrudEvent<E>) -> Operation = |change| change.operation;
        let channel = self.declare_with(CRUD, E::NAME, Form::json::<CrudEvent<E>>(), Some(read))?;
        Ok(CrudChannel::new(channel))
    }

    fn declare_with<T: Event>(
        &self,
        source: &str,
        event: &str,
        form: Form,
        operation_of: Option<fn(&T) -> Operation>,
    ) -> Result<Channel<T>, DeclareError> {
        let mut channels = self.inner.channels.lock();
        if let Some(known) = channels.find(source, event) {
            let declared = known.channel.info().type_name;
            return match Arc::clone(&known.channel).as_any().downcast() {
                Ok(core) => Ok(Channel::new(core, Arc::clone(&known.alive))),
                Err(_) => Err(DeclareError::OtherType {
                    source_name: source.to_owned(),
                    event: event.to_owned(),
                    declared,
                    asked: type_name::<T>(),
                }),
            };
        }

        let hub = Arc::clone(&self.inner.hub);
        let Some(info) = ChannelInfo::new(source, event, type_name::<T>(), form) else {
            return Err(bad_name(source, event, "there were 2^32 channels already"));
        };

        let core = Arc::new(ChannelCore::new(info, hub, operation_of));
        let channel: Arc<dyn AnyChannel> = Arc::clone(&core) as _;
        let alive = KeepAlive::new(&channel, &self.inner.alive);
        let open: Weak<KeepAlive> = Arc::downgrade(&alive);
        core.opened(open);

        channels.add(Declared {
            channel,
            alive: Arc::clone(&alive),
        });
        Ok(Channel::new(core, alive))
    }
}

fn check_name(source: &str, event: &str) -> Result<(), DeclareError> {
    let reason = if source.is_empty() || event.is_empty() {
        "a name must not be empty"
    } else if source.contains(ANY) || event.contains(ANY) {
        "\"*\" is the wildcard"
    } else if split_operation(event).is_some() {
        "an event must not end in an operation"
    } else {
        return Ok(());
    };
    Err(bad_name(source, event, reason))
}

fn bad_name(source: &str, event: &str, reason: &'static str) -> DeclareError {
    DeclareError::BadName {
        source_name: source.to_owned(),
        event: event.to_owned(),
        reason,
    }
}
