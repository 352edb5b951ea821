"""Buys a game and lists it, as a client in another language does: with stubs generated from the contract.

Usage: buy_and_list.py PROTO_DIRECTORY PURCHASE_ADDRESS GAME_LIST_ADDRESS CUSTOMER_ID GAME_ID

Prints one JSON object: the order, the list that shows the game, and how a second purchase of it is refused.
"""

import importlib
import json
import pathlib
import sys
import tempfile
import uuid

import grpc
import grpc_tools
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from grpc_tools import protoc

TIMEOUT_S = 10
PACKAGES = ("freshness", "gamelist", "purchase")


def generate_stubs(protos: pathlib.Path, target: str) -> None:
    """Compiles the contract into Python modules, and makes them importable."""
    well_known = pathlib.Path(grpc_tools.__file__).parent / "_proto"
    files = [f"gameshelf/{package}/v1/{package}.proto" for package in PACKAGES]
    status = protoc.main(
        ["protoc", f"-I{protos}", f"-I{well_known}", f"--python_out={target}", f"--grpc_python_out={target}", *files]
    )
    if status != 0:
        raise SystemExit(f"protoc ended with {status}")
    sys.path.insert(0, target)


def module(package: str, kind: str):
    """A generated module: `kind` is `pb2` for messages and `pb2_grpc` for stubs."""
    return importlib.import_module(f"gameshelf.{package}.v1.{package}_{kind}")


def buy(channel: grpc.Channel, customer_id: str, game_id: str):
    """Buys a game under a request id that is made before the request is sent."""
    messages, stubs = module("purchase", "pb2"), module("purchase", "pb2_grpc")
    request = messages.BuyRequest(
        request_id=str(uuid.uuid4()), customer_id=customer_id, game_id=game_id, payment_token="approve"
    )
    return stubs.PurchaseServiceStub(channel).Buy(request, timeout=TIMEOUT_S).order


def reason_of_refusal(channel: grpc.Channel, customer_id: str, game_id: str) -> dict:
    """Buys a game that cannot be bought, and reads from the error why."""
    try:
        buy(channel, customer_id, game_id)
    except grpc.RpcError as error:
        reason = None
        for detail in rpc_status.from_call(error).details:
            info = error_details_pb2.ErrorInfo()
            if detail.Unpack(info):
                reason = info.reason
        return {"code": error.code().name, "reason": reason}
    return {"code": "OK", "reason": None}


def list_games(channel: grpc.Channel, customer_id: str, token: str) -> list[dict]:
    """Lists a customer's games, at least as fresh as the write that returned the token."""
    freshness, messages = module("freshness", "pb2"), module("gamelist", "pb2")
    request = messages.ListGamesRequest(
        customer_id=customer_id, freshness=freshness.Freshness(at_least_as_fresh_as=token)
    )
    response = module("gamelist", "pb2_grpc").GameListServiceStub(channel).ListGames(request, timeout=TIMEOUT_S)
    return [{"game_id": game.game_id, "title": game.title} for game in response.games]


def main() -> None:
    protos, purchase_address, game_list_address, customer_id, game_id = sys.argv[1:]
    with tempfile.TemporaryDirectory() as target:
        generate_stubs(pathlib.Path(protos), target)
        with (
            grpc.insecure_channel(purchase_address) as purchase,
            grpc.insecure_channel(game_list_address) as game_list,
        ):
            order = buy(purchase, customer_id, game_id)
            messages = module("purchase", "pb2")
            print(
                json.dumps(
                    {
                        "state": messages.OrderState.Name(order.state),
                        "price_minor_units": order.price.minor_units,
                        "games": list_games(game_list, customer_id, order.token),
                        "second": reason_of_refusal(purchase, customer_id, game_id),
                    }
                )
            )


if __name__ == "__main__":
    main()
