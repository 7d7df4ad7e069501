"""aiohttp as it is by default: it does not read the environment."""
import asyncio
import sys

import aiohttp


async def main():
    async with aiohttp.ClientSession() as session:
        async with session.get(sys.argv[1] + "/default") as response:
            print(response.status)


asyncio.run(main())
