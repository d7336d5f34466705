"""Live chat: endpoints that answer, conversations, and the worker's thread that fetches replies.

A web server never waits for a model: a page queues two replies as rows, a thread of the worker streams their texts
into these rows, and the page looks at the rows.
"""
