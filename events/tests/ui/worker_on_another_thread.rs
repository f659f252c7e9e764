//! A worker's place stays on its thread.

fn main() {
    let bus = tidings_events::WorkerEvents::builder().workers(1).build().unwrap();
    let worker = bus.attach_worker(0).unwrap();
    std::thread::spawn(move || worker.run_pending());
}
