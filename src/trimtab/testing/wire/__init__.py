"""The OpenAI dialect and HTTP as bytes: what the fake server and the fake provider are made of.

Owns the encoding of scripted replies, the steps they are sent in, how faults rewrite them, certificates.
Promises: a healthy reply is what the real API sends; a fault changes what its name says, and nothing else.
Never decides what to answer, and keeps no state.
Entry: `encode.stream_frames`, `plan.WireReply`, `strikes`.
"""
