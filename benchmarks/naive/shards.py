"""A hot counter cut in eight: INCR on a random shard, and the sum cached for a while."""

import os
import random
from contextlib import asynccontextmanager

import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel

SHARDS = 8
CACHE_S = 5


class Event(BaseModel):
    id: str
    type: str
    object: str


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    yield
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events", status_code=202)
async def track(event: Event):
    await app.state.redis.incr(f"views:{event.object}:{random.randrange(SHARDS)}")
    return {"accepted": True}


@app.get("/views/{post}")
async def views(post: str):
    cached = await app.state.redis.get(f"sum:{post}")
    if cached is None:
        cached = await total(post)
        await app.state.redis.setex(f"sum:{post}", CACHE_S, cached)
    return {"views": int(cached)}


async def total(post: str) -> int:
    shards = await app.state.redis.mget([f"views:{post}:{shard}" for shard in range(SHARDS)])
    return sum(int(value or 0) for value in shards)


# --- for the bench: what it came to ------------------------------------------------------------------------------


@app.get("/counts")
async def counts():
    keys = [key async for key in app.state.redis.scan_iter("views:*", count=1_000)]
    posts = sorted({key.removeprefix("views:").rpartition(":")[0] for key in keys})
    return {"kept": {post: await total(post) for post in posts}}
