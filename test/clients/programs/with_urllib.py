"""urllib of the standard library, with nothing said about a proxy."""
import urllib.request

from report import BLIND, GOVERNED, PLAIN, pieces, report, whole


def call(what, method, url, body=None):
    headers = {} if body is None else {"Content-Type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, headers=headers, method=method)
    with urllib.request.urlopen(request, timeout=40) as response:
        report(what, response.status, response.read())


call("get", "GET", GOVERNED + "/bytes")
call("post", "POST", GOVERNED + "/echo", whole())
call("stream", "POST", GOVERNED + "/echo", pieces())
call("plain", "GET", PLAIN + "/bytes")
call("blind", "GET", BLIND + "/bytes")
