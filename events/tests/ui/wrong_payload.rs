//! A typed handle takes its own payload and no other.

#[derive(serde::Serialize)]
struct Started(u64);
#[derive(serde::Serialize)]
struct Stopped(u64);

fn main() {
    let bus = tidings_events::WorkerEvents::builder().build().unwrap();
    let starts = bus.declare::<Started>("jobs", "started").unwrap();
    starts.post(Stopped(7)).unwrap();
}
