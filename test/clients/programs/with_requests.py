"""requests, with nothing said about a proxy."""
import requests

from report import BLIND, GOVERNED, PLAIN, pieces, report, whole


# requests before 2.30 streams a body over TLS only on a connection that its session has open: on a fresh one it leaves the proxy's
# CONNECT out.
session = requests.Session()


def call(what, method, url, body=None):
    response = session.request(method, url, data=body, timeout=40)
    report(what, response.status_code, response.content)


call("get", "GET", GOVERNED + "/bytes")
call("post", "POST", GOVERNED + "/echo", whole())
call("stream", "POST", GOVERNED + "/echo", pieces())
call("plain", "GET", PLAIN + "/bytes")
call("blind", "GET", BLIND + "/bytes")
