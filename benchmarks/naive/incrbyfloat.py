"""Earnings in Redis: every view is worth a cent, added with INCRBYFLOAT."""

import os
from contextlib import asynccontextmanager

import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel

CENT = 0.01


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
    await app.state.redis.incrbyfloat(f"earnings:{event.object}", CENT)
    return {"accepted": True}


@app.get("/earnings/{post}")
async def earnings(post: str):
    return {"usd": float(await app.state.redis.get(f"earnings:{post}") or 0)}


# --- for the bench: what it came to ------------------------------------------------------------------------------


@app.get("/counts")
async def counts():
    keys = [key async for key in app.state.redis.scan_iter("earnings:*", count=1_000)]
    values = await app.state.redis.mget(keys) if keys else []
    usd = {key.removeprefix("earnings:"): value for key, value in zip(keys, values, strict=True)}
    return {"kept": {post: round(float(value) / CENT) for post, value in usd.items()}}
