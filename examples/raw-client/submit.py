"""Submit a plan and read its status from any NATS client: nothing of Nightshift is imported here.

python examples/raw-client/submit.py "$(nightshift credentials)"
"""

import asyncio
import json
import sys
import uuid

import nats


async def main(url: str, tenant: str = "default") -> None:
    """Publish a PlanSubmitted, then ask for the status until the execution is over."""
    nc = await nats.connect(url)
    execution = str(uuid.uuid4())
    plan = {"plan": "From a raw client", "tasks": [{"id": "hello", "run": "echo hello > hello.txt"}]}
    body = json.dumps({"plan": plan}).encode()
    stored = await nc.request(f"evt.{tenant}.{execution}.~in.PlanSubmitted", body, timeout=5)
    print("stored:", stored.data.decode())
    while True:
        answer = await nc.request(f"qry.{tenant}.status", json.dumps({"execution": execution}).encode(), timeout=10)
        status = json.loads(answer.data)["ok"]
        if status["state"] in ("completed", "failed", "rejected", "cancelled"):
            break
        await asyncio.sleep(0.2)
    print("state:", status["state"], status["progress"])
    await nc.close()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    asyncio.run(main(*sys.argv[1:]))
