//! etcd: the same facts as keys and values. It orders its writes itself, as the arbiter does.

use std::net::SocketAddr;

use anyhow::ensure;
use mesh::environment::{Clock, SystemClock};
use prost::Message;

use crate::load::{Client, Protocol, Template, placeholder};
use crate::work::{ACTOR, LISTED_CUSTOMERS, LISTED_GAMES, Work, customer_name, game_name};
use proto::compare::{CompareResult, CompareTarget, TargetUnion};
use proto::request_op::Request;
use proto::{Compare, PutRequest, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse};

#[expect(unreachable_pub, clippy::pedantic, reason = "generated; the .proto file says what they are")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/etcdserverpb.rs"));
}

const TXN: &str = "/etcdserverpb.KV/Txn";
const RANGE: &str = "/etcdserverpb.KV/Range";

/// How etcd is asked for a work.
pub(crate) fn protocol(work: Work) -> anyhow::Result<Protocol> {
    let customer = format!("{}{}", work.customer_prefix(), placeholder::CUSTOMER);
    Ok(match work {
        Work::Grant => {
            let request = grant(&customer, &format!("game-{}", placeholder::GAME), placeholder::REQUEST_ID);
            Protocol { path: TXN, template: Template::new(&request), check: check_grant }
        }
        Work::StrongList => {
            // The byte after "/" is "0": all keys that begin with the customer's.
            let request = RangeRequest {
                key: format!("entitlement/{customer}/").into_bytes(),
                range_end: format!("entitlement/{customer}0").into_bytes(),
            };
            Protocol { path: RANGE, template: Template::new(&request), check: check_list }
        }
        Work::GrantFromStock => anyhow::bail!("etcd is not compared for a limited edition"),
    })
}

/// Makes what a work needs.
pub(crate) fn prepare(address: SocketAddr, work: Work) -> anyhow::Result<()> {
    if work != Work::StrongList {
        return Ok(());
    }
    let put = |(customer, game)| {
        let customer = customer_name(work.customer_prefix(), customer);
        let game = game_name(game);
        grant(&customer, &game, &format!("prepared/{customer}/{game}"))
    };
    let pairs =
        (0..LISTED_CUSTOMERS).flat_map(|customer| (0..LISTED_GAMES).map(move |game| (customer, game)));
    Client::open(address)?.call_all(TXN, pairs.map(put))
}

/// Neither the entitlement nor the request may be there yet; then both are put.
fn grant(customer: &str, game: &str, request_id: &str) -> TxnRequest {
    let now_ms = SystemClock.unix_ms();
    let entitlement = format!("entitlement/{customer}/{game}").into_bytes();
    let request = format!("request/{request_id}").into_bytes();
    let is_new = |key: &[u8]| Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Version.into(),
        key: key.to_vec(),
        target_union: Some(TargetUnion::Version(0)),
    };
    let put = |key: Vec<u8>, value: Vec<u8>| RequestOp {
        request: Some(Request::RequestPut(PutRequest { key, value })),
    };
    // A hash of 32 bytes, an outcome of three and a time, as in the rows of a request.
    let outcome = [&[0; 32][..], &[0x12, 1, 1], &now_ms.to_be_bytes()].concat();
    TxnRequest {
        compare: vec![is_new(&entitlement), is_new(&request)],
        success: vec![put(entitlement, format!("{now_ms} 1 {ACTOR} ").into_bytes()), put(request, outcome)],
    }
}

fn check_grant(answer: &[u8]) -> anyhow::Result<()> {
    ensure!(TxnResponse::decode(answer)?.succeeded, "a grant granted nothing");
    Ok(())
}

fn check_list(answer: &[u8]) -> anyhow::Result<()> {
    let listed = RangeResponse::decode(answer)?.kvs.len();
    ensure!(listed as u64 == LISTED_GAMES, "a list has {listed} games instead of {LISTED_GAMES}");
    Ok(())
}
