"""Write-behind: INCR in Redis, and a loop that takes the counters out with GETDEL and adds them to the database."""

import asyncio
import os
from contextlib import asynccontextmanager

import asyncpg
import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel

FLUSH_S = 1


class Event(BaseModel):
    id: str
    type: str
    object: str


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    app.state.db = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=5, max_size=20)
    await app.state.db.execute("CREATE TABLE IF NOT EXISTS posts (id text PRIMARY KEY, views bigint NOT NULL)")
    flushing = asyncio.create_task(flush_loop())
    yield
    flushing.cancel()
    await app.state.db.close()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events", status_code=202)
async def track(event: Event):
    await app.state.redis.incr(f"views:{event.object}")
    return {"accepted": True}


async def flush_loop():
    while True:
        await asyncio.sleep(FLUSH_S)
        await flush()


async def flush():
    keys = [key async for key in app.state.redis.scan_iter("views:*", count=1_000)]
    async with app.state.redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.getdel(key)
        values = await pipe.execute()
    rows = [(key.removeprefix("views:"), int(value)) for key, value in zip(keys, values, strict=True) if value]
    async with app.state.db.acquire() as connection, connection.transaction():
        await connection.executemany(
            "INSERT INTO posts VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET views = posts.views + excluded.views",
            rows,
        )


# --- for the bench: what it came to ------------------------------------------------------------------------------


@app.get("/counts")
async def counts():
    await flush()
    rows = await app.state.db.fetch("SELECT id, views FROM posts WHERE views > 0")
    return {"kept": {row["id"]: row["views"] for row in rows}}
