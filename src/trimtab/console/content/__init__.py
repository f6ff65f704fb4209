"""What callers and models wrote, made fit to be shown.

Owns the turns of a conversation out of any JSON, and Markdown by allow-list.
Promises: whatever comes in, nothing that comes out runs, loads or links anything but what the list names; work is
bounded whatever the size.
Never trusts a payload to have the shape that its API documents.
Entry: `conversation.request_turns`, `conversation.answer_turns`, `markdown.render`.
"""
