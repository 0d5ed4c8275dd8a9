"""``python -m bench.peers``: make the environments of the peers; what cannot be had is said, and the rest goes on."""

from __future__ import annotations

from bench.peers import PEERS, PLACE, PeerFailed


def main() -> None:
    """Install every peer that is not installed."""
    PLACE.mkdir(exist_ok=True)
    for peer in PEERS:
        try:
            if not peer.installed:
                peer.install()
            print(f"{peer.name}: installed", flush=True)
        except PeerFailed as error:
            print(f"{peer.name}: cannot be had here: {error}", flush=True)


if __name__ == "__main__":
    main()
