"""The tutorial: a sorted set for the leaderboard, a row for the record, both written in the request."""

import os
from contextlib import asynccontextmanager

import asyncpg
import redis.asyncio as redis
from fastapi import FastAPI
from pydantic import BaseModel

POSTS = 1_000


class Event(BaseModel):
    id: str
    type: str
    object: str


@asynccontextmanager
async def lifespan(app: FastAPI):
    app.state.redis = redis.from_url(os.environ["REDIS_URL"], decode_responses=True)
    app.state.db = await asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=5, max_size=20)
    await app.state.db.execute("CREATE TABLE IF NOT EXISTS posts (id text PRIMARY KEY, views bigint NOT NULL)")
    await app.state.db.execute(
        "INSERT INTO posts SELECT 'post:' || lpad(n::text, 5, '0'), 0 FROM generate_series(0, $1 - 1) n "
        "ON CONFLICT DO NOTHING",
        POSTS,
    )
    yield
    await app.state.db.close()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


@app.post("/v1/events", status_code=202)
async def track(event: Event):
    await app.state.redis.zincrby("leaderboard", 1, event.object)
    await app.state.db.execute("UPDATE posts SET views = views + 1 WHERE id = $1", event.object)
    return {"accepted": True}


@app.get("/leaderboard")
async def leaderboard():
    return await app.state.redis.zrevrange("leaderboard", 0, 9, withscores=True)


# --- for the bench: what it came to ------------------------------------------------------------------------------


@app.get("/counts")
async def counts():
    rows = await app.state.db.fetch("SELECT id, views FROM posts WHERE views > 0")
    board = await app.state.redis.zrange("leaderboard", 0, -1, withscores=True)
    return {"kept": {row["id"]: row["views"] for row in rows}, "shown": {post: round(score) for post, score in board}}
