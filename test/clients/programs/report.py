"""What every program of this folder prints of a call, so that one test can read them all."""
import hashlib
import sys

# The usual arguments: three URLs without their last segment, and the file to upload.
GOVERNED, BLIND, PLAIN, FILE = sys.argv[1:5]

# Bytes of one piece of a streamed upload.
PIECE_BYTES = 65536


def report(what, status, body):
    """One line: what was done, the status, and the hash of the body that came back."""
    print(what, status, hashlib.sha256(body).hexdigest(), flush=True)


def pieces():
    """The file, piece by piece: a body without a length."""
    with open(FILE, "rb") as file:
        while piece := file.read(PIECE_BYTES):
            yield piece


def whole():
    """The file as one value: a body with a length."""
    with open(FILE, "rb") as file:
        return file.read()
