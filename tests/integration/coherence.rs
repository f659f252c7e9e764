//! G2 over HTTP: after a write has returned, no request that begins later is answered from the old
//! row, on any worker, however warm its L1 and however busy it is.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinHandle};

use crate::{
    client::Client,
    gateway::{Served, served},
};

const WORKERS: usize = 4;
const ROUNDS: usize = 1_000;
/// Tasks that send requests all through the write.
const HAMMERS: usize = 2;

/// A connection to each worker.
async fn one_for_each_worker(served: &Served) -> Vec<Client> {
    let mut clients = BTreeMap::new();
    let mut tried = 0;
    while clients.len() < WORKERS {
        let mut client = served.proxy().await;
        let worker = client.get("/").await.worker();
        clients.entry(worker).or_insert(client);
        tried += 1;
        assert!(
            tried < 1_000,
            "only these workers accept: {:?}",
            clients.keys()
        );
    }
    clients.into_values().collect()
}

/// Sends requests with a key until told to stop, and counts the ones that passed although they
/// began after the key was revoked.
struct Hammer {
    revoked: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<(Client, u64)>,
}

impl Hammer {
    fn start(mut client: Client, key: String, sent: Arc<AtomicU64>) -> Self {
        let revoked = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let (is_revoked, is_stopped) = (Arc::clone(&revoked), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut stale = 0;
            while !is_stopped.load(Ordering::SeqCst) {
                let began_after = is_revoked.load(Ordering::SeqCst);
                let answer = client.with_key(&key).await;
                sent.fetch_add(1, Ordering::Relaxed);
                if began_after && answer.status == 200 {
                    stale += 1;
                }
            }
            (client, stale)
        });
        Self {
            revoked,
            stop,
            task,
        }
    }

    fn revoked(&self) {
        self.revoked.store(true, Ordering::SeqCst);
    }

    async fn stop(self) -> (Client, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.task.await.expect("a hammer does not panic")
    }
}

/// Warms a key in the L1 of every worker: the second answer of each comes from there.
async fn warm(clients: &mut [Client], key: &str) {
    for client in clients {
        client.with_key(key).await.expect(200);
        client.with_key(key).await.expect(200);
    }
}

async fn l1_hits(served: &Served) -> Vec<u64> {
    let status = served.admin().await.get("/status").await.expect(200).json();
    let workers = status["workers"]
        .as_array()
        .expect("/status lists the workers")
        .clone();
    workers
        .iter()
        .map(|worker| worker["l1_hits"].as_u64().expect("a count"))
        .collect()
}

// G2, PL2: 1,000 rounds of create, warm everywhere, delete under load.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_credential_passes_no_worker_again() {
    let served = served(WORKERS).await;
    let mut admin = served.admin().await;
    let mut clients = one_for_each_worker(&served).await;
    let mut hammers = vec![served.proxy().await, served.proxy().await];
    assert_eq!(hammers.len(), HAMMERS);
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let before = l1_hits(&served).await;
    let sent = Arc::new(AtomicU64::new(0));

    for round in 0..ROUNDS {
        let key = format!("key-{round}");
        admin
            .post("/consumers/bob/key-auth", json!({"key": key}))
            .await
            .expect(201);
        warm(&mut clients, &key).await;
        let running: Vec<_> = hammers
            .drain(..)
            .map(|client| Hammer::start(client, key.clone(), Arc::clone(&sent)))
            .collect();
        admin.delete(&format!("/key-auths/{key}")).await.expect(204);
        running.iter().for_each(Hammer::revoked);
        for client in &mut clients {
            client.with_key(&key).await.expect(401);
        }
        for hammer in running {
            let (client, stale) = hammer.stop().await;
            assert_eq!(
                stale, 0,
                "round {round}: requests sent after the 204 passed"
            );
            hammers.push(client);
        }
    }

    let after = l1_hits(&served).await;
    for (worker, (before, after)) in before.iter().zip(&after).enumerate() {
        assert!(
            after - before >= ROUNDS as u64,
            "worker {worker} was not warm: {before} {after}"
        );
    }
    println!("{} requests under load", sent.load(Ordering::Relaxed));
    served.stop().await;
}

// G2 by hand: an acl row that moves to another consumer opens one and closes the other, on every
// worker.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_moved_acl_row_closes_the_old_consumer_at_once() {
    let served = served_with_groups(WORKERS).await;
    let mut admin = served.admin().await;
    let mut clients = one_for_each_worker(&served).await;
    let mut ids = Vec::new();
    for name in ["alice", "bob"] {
        let consumer = admin
            .post("/consumers", json!({"username": name}))
            .await
            .expect(201)
            .json();
        ids.push(consumer["id"].clone());
        let path = format!("/consumers/{name}/key-auth");
        admin
            .post(&path, json!({"key": format!("{name}-key")}))
            .await
            .expect(201);
    }
    let acl = json!({"group": "staff", "consumer": {"id": ids[0]}});
    let acl = admin.post("/acls", acl).await.expect(201).json();
    let path = format!("/acls/{}", acl["id"].as_str().expect("an id"));

    let mut hammer = served.proxy().await;
    let sent = Arc::new(AtomicU64::new(0));
    for round in 0..ROUNDS {
        let (open, closed) = if round % 2 == 0 { (0, 1) } else { (1, 0) };
        let key = |which: usize| ["alice-key", "bob-key"][which].to_owned();
        for client in &mut clients {
            client.with_key(&key(open)).await.expect(200);
            client.with_key(&key(closed)).await.expect(403);
        }
        let running = Hammer::start(hammer, key(open), Arc::clone(&sent));
        admin
            .patch(&path, json!({"consumer": {"id": ids[closed]}}))
            .await
            .expect(200);
        running.revoked();
        for client in &mut clients {
            client.with_key(&key(open)).await.expect(403);
            client.with_key(&key(closed)).await.expect(200);
        }
        let (client, stale) = running.stop().await;
        assert_eq!(
            stale, 0,
            "round {round}: requests sent after the 200 passed"
        );
        hammer = client;
    }
    served.stop().await;
}

async fn served_with_groups(workers: usize) -> Served {
    crate::gateway::served_with(|settings| {
        settings.workers = workers;
        settings.allow_groups = Some(vec!["staff".to_owned()]);
    })
    .await
}

// G2: a write whose client hangs up before the answer is either not made or made and evicted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_client_hangs_up_still_evicts() {
    let served = served(WORKERS).await;
    let mut admin = served.admin().await;
    let mut clients = one_for_each_worker(&served).await;
    admin
        .post("/consumers", json!({"username": "bob"}))
        .await
        .expect(201);
    let mut made = 0;

    for round in 0..ROUNDS / 4 {
        let key = format!("key-{round}");
        admin
            .post("/consumers/bob/key-auth", json!({"key": key}))
            .await
            .expect(201);
        warm(&mut clients, &key).await;

        let mut stream = TcpStream::connect(served.admin_address())
            .await
            .expect("it listens");
        let request = format!("DELETE /key-auths/{key} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        stream
            .write_all(request.as_bytes())
            .await
            .expect("loopback takes it");
        drop(stream); // before the answer, and perhaps before the request was read

        // A write through the same door and the one writer: it returns after whatever the first
        // did.
        admin
            .patch(
                "/consumers/bob",
                json!({"tags": [format!("round-{round}")]}),
            )
            .await
            .expect(200);
        let gone = admin.get(&format!("/key-auths/{key}")).await.status == 404;
        if gone {
            made += 1;
            for client in &mut clients {
                client.with_key(&key).await.expect(401);
            }
        }
        admin.delete(&format!("/key-auths/{key}")).await.expect(204);
        for client in &mut clients {
            client.with_key(&key).await.expect(401);
        }
    }
    assert!(
        made > 0,
        "not one of the cut-off writes was made, so nothing was shown"
    );
    served.stop().await;
}
