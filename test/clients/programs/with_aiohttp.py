"""aiohttp, told only to trust the environment."""
import asyncio

import aiohttp

from report import BLIND, GOVERNED, PLAIN, pieces, report, whole


async def stream():
    for piece in pieces():
        yield piece


async def main():
    timeout = aiohttp.ClientTimeout(total=40)
    async with aiohttp.ClientSession(trust_env=True, timeout=timeout) as session:

        async def call(what, method, url, body=None):
            async with session.request(method, url, data=body) as response:
                report(what, response.status, await response.read())

        await call("get", "GET", GOVERNED + "/bytes")
        await call("post", "POST", GOVERNED + "/echo", whole())
        await call("stream", "POST", GOVERNED + "/echo", stream())
        await call("plain", "GET", PLAIN + "/bytes")
        await call("blind", "GET", BLIND + "/bytes")


asyncio.run(main())
