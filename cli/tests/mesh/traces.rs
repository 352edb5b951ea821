//! What a collector sees of a purchase.

mod collector;

use collector::Collector;

use crate::harness::Mesh;

#[test]
fn dump() {
    let collector = Collector::start();
    let mesh = Mesh::start_with(&[], &collector.environment());
    let order = mesh.run(&["buy", "anna", "tiny-forest"]).json();
    println!("{order}");
    crate::harness::wait_until("spans", || collector.spans().iter().any(|span| span.name == "arbiter.batch"));
    std::thread::sleep(std::time::Duration::from_secs(2));
    for span in collector.spans() {
        println!("{span:?}");
    }
    panic!("dump");
}
