"""Hear of failed tasks, over plain NATS: python tell.py "$(nightshift credentials)" [TENANT]"""

import asyncio
import sys

import nats


async def main(url: str, tenant: str = "default") -> None:
    client = await nats.connect(url)
    subscription = await client.subscribe(f"tail.evt.{tenant}.*.*.TaskFailed")
    async for message in subscription.messages:
        print("failed:", message.subject.split(".")[4], message.data.decode(), flush=True)


asyncio.run(main(*sys.argv[1:]))
