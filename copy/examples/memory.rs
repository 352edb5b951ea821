//! Keeps a copy in memory and shows a customer's games: `cargo run -p copy --example memory -- 127.0.0.1:7400 anna`
use std::env::args;
use std::error::Error;
use std::sync::Arc;

use copy::{Memory, Options, follow};
use mesh::environment::Environment;
use mesh::outbound::{Address, Outbound, OutboundConfig};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address: Address = args().nth(1).ok_or("the arbiter's address is missing")?.parse()?;
    let customer = args().nth(2).ok_or("the customer is missing")?;
    let (environment, shutdown) = (Environment::system(), CancellationToken::new());
    let arbiter = Outbound::new("arbiter", &address, &OutboundConfig::default(), &environment);
    let options = Options { name: "example".to_owned(), ..Options::default() };
    let memory = Arc::new(Memory::default());
    let copy = follow(Arc::clone(&memory), &arbiter, options, &environment, shutdown).await?;
    copy.status().followed(environment.clock.as_ref()).await;
    let age = copy.status().figures(environment.clock.monotonic()).age;
    println!("{customer} has {:?}, at most {age:?} ago", memory.games(&customer));
    Ok(())
}
