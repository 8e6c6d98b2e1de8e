"""The scoring server of a replica.

This package runs inside the *user's* environment (CPython 3.8 and later), not inside ours. It therefore uses the
standard library and the HTTP libraries that its bundle carries under a private name, never the rest of `outhaul`, and
only syntax that Python 3.8 reads. `outhaul.adapters.bundle` copies it into a bundle, where it is `_outhaul_scoring`.

    serve.py       first file to run: makes the package importable without touching sys.path
    server.py      puts the parts together: start, init(), serve, drain, exit
    config.py      what the replica was told
    script.py      finds init() and run(), sets what scripts expect around them
    calling.py     how run() is called: the seam for raw HTTP and schema decorators
    answers.py     what run() returned → bytes on the wire
    limiter.py     first come, first served, never more at once than allowed (pure)
    desk.py        limiter + worker threads + clocks: one request's way to run() and back
    workers.py     the threads that run user code; the main thread is the first of them
    app.py         scoring routes, headers and codes
    health.py      /live, /ready, /status, out of band
    status.py      the replica's state and counters
    request_ids.py v1's rules for request ids (pure)
    swagger.py     the generic API description (pure)
"""
